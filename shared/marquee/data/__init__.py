"""Datasets: sources, snapshots, interactions, side information and splits."""
