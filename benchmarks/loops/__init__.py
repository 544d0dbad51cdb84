"""Simulation of feedback loops over many retrainings, and generation of docs/feedback-loops.md."""
