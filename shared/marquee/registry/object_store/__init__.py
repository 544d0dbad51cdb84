"""Object stores: a port, and an adapter for each URL scheme."""
