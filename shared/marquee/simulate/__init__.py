"""A streaming service with its customers, in the protocol's formats."""
