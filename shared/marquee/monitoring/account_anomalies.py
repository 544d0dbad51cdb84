"""Statistical tests for groups of new accounts whose ratings or watches deviate from those of established accounts.

Two tests are made for each movie and rating level. The *shift* test (binomial) asks if too many of the new accounts'
ratings are of that level. The *burst* test (Poisson) asks if too many new accounts rated the movie. P-values are
Chernoff bounds, and those of the shift are adjusted for the number of tests (Bonferroni). A hit is not reported,
because new accounts rate it often but like the others do.

Watches have no level. Their burst test is therefore stricter: new accounts must watch a movie demonstrably more than
:data:`BURST_FACTOR` times as often as established accounts do, in the same week and before. A premiere that everyone
watches passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import msgspec

from marquee.scoring.interaction_weights import LIKED_FRACTION

ALPHA = 0.01
"""Probability of any false alarm over all movies, if new accounts rate like established ones."""
_BURST_ALPHA = 0.01
_PRIOR_RATINGS = 5.0
"""Prior weight, in ratings, of the mean movie in the estimated share of a level."""
_MIN_ACCOUNTS = 5
"""Minimum number of accounts that is reported."""
MIN_ESTABLISHED = 1_000
"""Minimum number of ratings of established accounts for a comparison."""
BURST_FACTOR = 5.0
"""Ratio of the shares of a movie among new and established accounts that is not reported yet."""
WATCHED = "watched"
"""Level of movies that are attacked by watches alone."""
LEVELS = ("highest", "liked", "disliked", "lowest")
"""Rating levels that are tested. Attacking accounts are detected if they agree on one of them."""


class MovieRatings(msgspec.Struct, frozen=True):
    """Numbers of ratings of one movie by new and by established accounts, in total and by level of :data:`LEVELS`."""

    movie_id: str
    new: int
    new_levels: tuple[int, ...]
    old: int
    old_levels: tuple[int, ...]


class MovieWatches(msgspec.Struct, frozen=True):
    """Numbers of accounts that first watched one movie: new ones, established ones in the same week, and before."""

    movie_id: str
    new: int
    recent: int
    old: int


class AttackedMovie(msgspec.Struct, frozen=True):
    """A movie that new accounts seem to attack with ratings of ``level``, and the logarithm of the adjusted p-value."""

    movie_id: str
    level: str
    log_p: float


def level_bounds(level: str, low: float, high: float) -> tuple[float, float]:
    """Return the lowest and highest rating of ``level`` on the scale ``low`` to ``high``."""
    liked, disliked = (low + fraction * (high - low) for fraction in (LIKED_FRACTION, 1 - LIKED_FRACTION))
    return {"highest": (high, high), "liked": (liked, high), "disliked": (low, disliked), "lowest": (low, low)}[level]


def find_targets(movies: Sequence[MovieRatings], alpha: float = ALPHA) -> list[AttackedMovie]:
    """Return the movies under attack; [] if established accounts have too few ratings for a comparison."""
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


def find_watched_targets(movies: Sequence[MovieWatches], alpha: float = ALPHA) -> list[AttackedMovie]:
    """Return the movies that new accounts attack by watches; [] if established accounts have too few watches."""
    new, recent, old = sum(m.new for m in movies), sum(m.recent for m in movies), sum(m.old for m in movies)
    if old < MIN_ESTABLISHED or not new:
        return []
    targets = []
    for movie in movies:
        usual = max((movie.old + 1) / (old + len(movies)), (movie.recent + 1) / (recent + len(movies)))
        burst = log_poisson_tail(movie.new, BURST_FACTOR * new * usual) + log(len(movies))
        if movie.new >= _MIN_ACCOUNTS and burst <= log(alpha):
            targets.append(AttackedMovie(movie.movie_id, WATCHED, burst))
    return targets


def log_binomial_tail(successes: int, n: int, p: float) -> float:
    """Return the Chernoff bound of log P(X >= ``successes``) for X ~ Binomial(``n``, ``p``); 0 at or below the mean."""
    if not n or successes <= n * p:
        return 0.0
    q = successes / n
    rest = (1 - q) * log((1 - q) / (1 - p)) if q < 1 else 0.0
    return -n * (q * log(q / p) + rest) if p > 0 else float("-inf")


def log_poisson_tail(count: int, mean: float) -> float:
    """Return the Chernoff bound of log P(X >= ``count``) for X ~ Poisson(``mean``); 0 at or below the mean."""
    return 0.0 if count <= mean else count - mean - count * log(count / mean)
