"""Simulated world with known tastes: users, movies, and the history before the first simulated day.

A user watches a shown movie if they examine its position and the movie suits them, as in the position-based model of
:mod:`marquee.experiments.examination`. Watching a movie moves the user's taste toward it (Jiang et al., *Degenerate
Feedback Loops in Recommender Systems*, AIES 2019). Users also find movies without a list, with a probability that
depends on the movie's fame and on their taste.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

DAY_US = 86_400_000_000
LENGTH = 20
"""Number of movies in a list."""
MAJORITY, MINORITY, LIGHT, HEAVY = "majority taste", "minority taste", "light users", "heavy users"
_TASTE_WEIGHT, _THRESHOLD = 2.2, 2.2  # Terms of the log odds that a movie suits a user.
_CONCENTRATION = 0.8  # Concentration of tastes and styles around the centers of the two groups.
_MAX_POPULARITY = 5.0  # Upper limit of a log weight, so that one movie does not take all views outside lists.

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class WorldSize(msgspec.Struct, frozen=True):
    """Size and behavior of a world.

    - ``history_days``: number of days without recommendations before the first simulated day
    - ``minority``: share of the users in the minority group, and of the movies in its style
    - ``new_movies``: share of the movies that are released during the simulated days
    - ``visits``: mean number of lists per user and day, at most 1
    - ``outside``: mean number of movies per user and day that are begun without a list
    - ``drift``: fraction of the distance to a watched movie by which a taste moves
    - ``examination``: exponent of the power law by which examination falls with the position
    """

    users: int = 400
    movies: int = 400
    days: int = 30
    history_days: int = 60
    minority: float = 0.2
    new_movies: float = 0.2
    visits: float = 0.5
    outside: float = 0.25
    drift: float = 0.02
    examination: float = 0.7


@dataclass(frozen=True, slots=True)
class LoopWorld:
    """The true tastes of users and properties of movies.

    - ``tastes`` [users, 8] and ``styles`` [movies, 8]: vectors of length 1
    - ``quality`` [movies]: offset of the log odds that a movie suits a user
    - ``fame`` [movies]: log of the weight with which a movie is found without a list
    - ``released`` [movies]: day of release
    - ``activity`` [users]: relative number of visits, with mean 1
    - ``is_minority`` [users]
    """

    size: WorldSize
    seed: int
    tastes: Floats
    styles: Floats
    quality: Floats
    fame: Floats
    released: Ints
    activity: Floats
    is_minority: NDArray[np.bool_]

    def suit(self, tastes: Floats) -> Floats:
        """Return the probability that each movie suits each of ``tastes`` [n, 8], [n, movies]."""
        return 1 / (1 + np.exp(_THRESHOLD - _TASTE_WEIGHT * (tastes @ self.styles.T) - self.quality))

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Return the mask of the users in each group, by name, [users]."""
        is_heavy = self.activity > np.median(self.activity)
        return {MAJORITY: ~self.is_minority, MINORITY: self.is_minority, LIGHT: ~is_heavy, HEAVY: is_heavy}

    def draw_outside(self, tastes: Floats, seen: NDArray[np.bool_], day: int, mean: float, tag: int) -> list[Ints]:
        """Return the unseen movies that each user begins on ``day`` without a list, one array for each user.

        ``mean`` is the mean number of movies. The random numbers are a function of seed, ``day`` and ``tag``, so two
        variants differ by their actions and not by chance.
        """
        rng = np.random.default_rng([self.seed, day + 10_000, tag])
        counts = rng.poisson(mean * self.activity)
        # Gumbel trick: the item with the largest log weight + Gumbel noise is a draw in proportion to the weights.
        noise = rng.gumbel(size=seen.shape)
        value = noise + self.fame + np.log(self.suit(tastes))
        value[seen | (self.released > day)] = -np.inf
        order = np.argsort(-value, axis=1)
        found = []
        for user, count in enumerate(counts.tolist()):
            own = order[user, :count]
            found.append(own[np.isfinite(value[user, own])])
        return found


def examine(size: WorldSize) -> Floats:
    """Return the probability that a user looks at each position of a list, [LENGTH]."""
    looks: Floats = np.arange(1.0, LENGTH + 1) ** -size.examination
    return looks


def make_world(size: WorldSize, seed: int) -> LoopWorld:
    """Draw the users and movies of a world of ``size`` from ``seed``."""
    rng = np.random.default_rng([seed, 1])
    centers = _unit(rng.normal(size=(2, 8)))
    is_minority = rng.random(size.users) < size.minority
    suits_minority = rng.random(size.movies) < size.minority
    tastes = _unit(_CONCENTRATION * centers[is_minority.astype(int)] + rng.normal(0, 0.35, (size.users, 8)))
    styles = _unit(_CONCENTRATION * centers[suits_minority.astype(int)] + rng.normal(0, 0.35, (size.movies, 8)))
    is_new = rng.random(size.movies) < size.new_movies
    released = np.where(is_new, rng.integers(1, max(size.days, 2), size.movies), -size.history_days)
    activity = rng.lognormal(0, 0.8, size.users)
    fame = np.minimum(rng.normal(0, 1.0, size.movies), _MAX_POPULARITY)
    quality = rng.normal(0, 0.6, size.movies)
    return LoopWorld(size, seed, tastes, styles, quality, fame, released, activity / activity.mean(), is_minority)


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
