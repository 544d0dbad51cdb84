"""Grafana's dashboard files and SQL macros, read and run without Grafana."""
