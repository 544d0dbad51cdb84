"""The mathematics of an answer, on NumPy alone."""
