"""A simulated streaming service: users, movies, watch sessions and the event log."""
