"""Benchmarks of speed, memory and accuracy, each with a reference measured in the same run: ``make bench``."""
