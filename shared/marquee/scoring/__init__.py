"""Scoring on NumPy alone: weights, fold-in, top-k selection."""
