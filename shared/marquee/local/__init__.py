"""The whole system as supervised processes on one machine."""
