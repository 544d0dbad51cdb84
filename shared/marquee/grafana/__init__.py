"""Grafana's dashboard files, read and run without Grafana: the same queries, with its macros expanded."""
