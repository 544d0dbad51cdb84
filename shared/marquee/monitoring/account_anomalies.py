"""Groups of new accounts that agree on one movie against all that was known of it: a statistical check.

Two tests of each movie and level of rating compare the ratings of new accounts with those of established ones.
The *shift* test is binomial: how many new accounts gave such a rating, if they rate as the others do. The *burst*
test is Poisson: how many of them rated the movie at all, if they choose as the others do. Both p-values are bounded by
Chernoff, and the shift is adjusted for the number of tests (Bonferroni). A hit is rated often by new accounts, but as
others rate it; so it passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import msgspec

from marquee.scoring.interaction_weights import LIKED_FRACTION

ALPHA = 0.01
"""Probability of a false alarm among all movies, if new accounts rate as established ones do."""
_BURST_ALPHA = 0.01
_PRIOR_RATINGS = 5.0
"""Weight of the mean movie in the share of a level of one movie, in ratings."""
_MIN_ACCOUNTS = 5
"""Fewer accounts are never reported, whatever the movie."""
MIN_ESTABLISHED = 1_000
"""Ratings of established accounts without which there is nothing to compare with."""
LEVELS = ("highest", "liked", "disliked", "lowest")
"""Sets of ratings that are tested; accounts that attack must agree on one of them."""


class MovieRatings(msgspec.Struct, frozen=True):
    """Numbers of ratings of one movie by new and by established accounts: all, and those of each of :data:`LEVELS`."""

    movie_id: str
    new: int
    new_levels: tuple[int, ...]
    old: int
    old_levels: tuple[int, ...]


class AttackedMovie(msgspec.Struct, frozen=True):
    """A movie that new accounts seem to attack with ratings of ``level``, and the log of the adjusted p-value."""

    movie_id: str
    level: str
    log_p: float


def level_bounds(level: str, low: float, high: float) -> tuple[float, float]:
    """Return the least and the greatest rating of ``level`` on the scale ``low`` to ``high``."""
    liked, disliked = (low + fraction * (high - low) for fraction in (LIKED_FRACTION, 1 - LIKED_FRACTION))
    return {"highest": (high, high), "liked": (liked, high), "disliked": (low, disliked), "lowest": (low, low)}[level]


def find_targets(movies: Sequence[MovieRatings], alpha: float = ALPHA) -> list[AttackedMovie]:
    """Return the movies under attack; none if too little is known of established accounts."""
    old, new = sum(m.old for m in movies), sum(m.new for m in movies)
    if old < MIN_ESTABLISHED or not new:
        return []
    tests = log(len(LEVELS) * len(movies))
    targets = []
    for number, level in enumerate(LEVELS):
        usual = sum(m.old_levels[number] for m in movies) / old
        for movie in movies:
            fresh, established = movie.new_levels[number], movie.old_levels[number]
            expected = new * (movie.old + 1) / (old + len(movies))
            share = (established + _PRIOR_RATINGS * usual) / (movie.old + _PRIOR_RATINGS)
            shift = log_binomial_tail(fresh, movie.new, share) + tests
            burst = log_poisson_tail(movie.new, expected)
            if fresh >= _MIN_ACCOUNTS and shift <= log(alpha) and burst <= log(_BURST_ALPHA):
                targets.append(AttackedMovie(movie.movie_id, level, shift))
    return targets


def log_binomial_tail(successes: int, n: int, p: float) -> float:
    """Return Chernoff's bound of the log probability of at least ``successes`` of ``n``; 0 at or below the mean."""
    if not n or successes <= n * p:
        return 0.0
    q = successes / n
    rest = (1 - q) * log((1 - q) / (1 - p)) if q < 1 else 0.0
    return -n * (q * log(q / p) + rest) if p > 0 else float("-inf")


def log_poisson_tail(count: int, mean: float) -> float:
    """Return Chernoff's bound of the log probability of at least ``count``; 0 at or below the mean."""
    return 0.0 if count <= mean else count - mean - count * log(count / mean)
