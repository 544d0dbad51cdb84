"""Trained models and releases, in object storage."""
