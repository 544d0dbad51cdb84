"""Experiments: declarations, always-valid statistics, the decision of the controller, and off-policy estimates."""
