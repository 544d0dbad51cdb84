"""Feedback loops: simulated weeks of retraining on what was recommended, and attacks by fake accounts."""
