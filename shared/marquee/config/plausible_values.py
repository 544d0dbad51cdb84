"""Ranges in which attributes of users and movies are plausible; a value outside is a placeholder or an error."""

from __future__ import annotations

AGES = (1, 130)
"""Ages of users; MovieLens 1M writes 1 for users under 18."""
YEARS = (1870, 2200)
"""Release years; the first films are of the 1870s."""
AGE_RATINGS = (0, 99)
"""Least ages of viewers."""
RUNTIMES = (1, 1_440)
"""Lengths of movies in minutes."""
MAX_COST = 1e6
"""Highest license fee per view. Fees are subtracted from scores in single precision."""


def is_within(value: float, limits: tuple[float, float]) -> bool:
    """Return whether ``value`` lies between the two ``limits``, both included."""
    return limits[0] <= value <= limits[1]
