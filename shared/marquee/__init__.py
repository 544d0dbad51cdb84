"""Marquee: a real-time movie recommender that scales to zero."""

__version__ = "0.1.0"
