"""Deliveries: one port, and an adapter for each URL scheme."""
