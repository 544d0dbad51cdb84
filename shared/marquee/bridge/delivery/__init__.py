"""Deliveries: one protocol, and an adapter for each URL scheme."""
