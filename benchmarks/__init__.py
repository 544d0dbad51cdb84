"""Speeds and qualities, each beside a stated reference measured in the same run: ``make bench``."""
