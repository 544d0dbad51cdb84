"""From ratings to an artifact."""
