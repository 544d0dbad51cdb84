"""The log: its lines, their batches, and how batches travel."""
