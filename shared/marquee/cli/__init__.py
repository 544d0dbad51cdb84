"""The ``marquee`` command: one module for each verb, and the helpers that they share."""
