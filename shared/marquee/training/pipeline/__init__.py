"""The steps of the retraining pipeline, one module for each."""
