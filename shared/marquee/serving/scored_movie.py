"""Movies of a list with their scores, and the tier of the list."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

Cohorts = Sequence[tuple[str, float]]
"""Names of cohorts with their weights."""


class Tier(StrEnum):
    """Fallback level of a list."""

    PERSONALISED = "personalised"  # From the artifact's record of the user.
    FOLDED_IN = "folded-in"  # From interactions that the artifact lacks, or a user that it lacks.
    COHORT = "cohort"  # No history: from demographics and stated interests.
    POPULAR = "popular"  # Nothing is known of the user.
    LAST_RESORT = "last-resort"  # A non-personalized list, because ranking or the database failed.
    NOT_PROFILED = "not-profiled"  # The request forbids to read anything about the user.


class ScoredMovie(msgspec.Struct, frozen=True, gc=False):  # Creating a dataclass instance takes four times as long.
    """One movie of a list: ``score`` orders the list, ``rating`` is the predicted rating."""

    movie_id: str
    score: float
    rating: float | None
    propensity: float = 1.0
    """Probability with which the movie was shown in this position."""
    rank: int = 0
    """Position that it would have without exploration, from 1; 0 if it was not ranked."""
