"""Evaluation of Grafana's alert rules without Grafana, for the tests, the local page and ``marquee run alerts``."""
