"""Fixtures of base data: MovieLens 100K and a synthetic data set."""

from tests.support.base_data import base, base_data

__all__ = ["base", "base_data"]
