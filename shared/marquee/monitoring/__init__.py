"""Monitoring: prequential evaluation, attribution, availability, data quality and drift, and alerts."""
