"""The ``marquee`` command, one module a verb."""
