"""Feedback loops: simulated weeks of retraining on what was recommended, and attacks by fake accounts.

The package also generates docs/feedback-loops.md.
"""
