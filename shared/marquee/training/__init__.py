"""The retraining pipeline, the release policy, provenance and reproduction."""
