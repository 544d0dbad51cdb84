"""Recommendation service: HTTP application, recommender, and the caches behind it."""
