"""Analysis of fairness on MovieLens 100K."""
