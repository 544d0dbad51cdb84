"""Retraining pipeline: one module for each step."""
