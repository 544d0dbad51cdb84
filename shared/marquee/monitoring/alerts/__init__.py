"""Grafana's alert rules, evaluated and sent without Grafana: the same file, the same states, the same message."""
