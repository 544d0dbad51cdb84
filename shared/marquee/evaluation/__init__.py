"""Quality of models on held-out data: metrics, intervals, paired tests, prediction intervals and fairness."""
