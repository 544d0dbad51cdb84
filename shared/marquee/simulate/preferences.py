"""What customers like: latent tastes by hashed seeds, so that there is something to be learnt.

``liking = mean + b_user + c_movie + p_user . q_movie``, the very model of the trainer, with noise on top:
the best possible RMSE on the five-point scale is about .85 (the noise, and the rounding).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from marquee.simulate.hashed_rng import generator_for

DIMENSIONS = 8
MEAN = 3.6
NOISE = 0.8
# With 8 dimensions the dot product then has a standard deviation of about .6.
_SPREAD = 0.46
_BIAS = 0.4


class _Side(NamedTuple):
    bias: float
    vector: tuple[float, ...]


class Preferences:
    """Likings on the scale from 1 to 5, for any user and any movie, with nothing stored but two caches."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._user = lru_cache(4096)(lambda user_id: self._side("user", user_id))
        self._movie = lru_cache(4096)(lambda movie_id: self._side("movie", movie_id))

    def _side(self, kind: str, name: str) -> _Side:
        chance = generator_for(self._seed, kind, name)
        return _Side(chance.gauss(0, _BIAS), tuple(chance.gauss(0, _SPREAD) for _ in range(DIMENSIONS)))

    def liking(self, user_id: str, movie_id: str) -> float:
        """What this user would feel for this movie, without noise; mostly from 1 to 5, not clipped."""
        user, movie = self._user(user_id), self._movie(movie_id)
        return MEAN + user.bias + movie.bias + sum(map(float.__mul__, user.vector, movie.vector))

    def appetite(self, user_id: str, movie_id: str) -> float:
        """The liking mapped to [0, 1]: how much the movie tempts."""
        return min(1.0, max(0.0, (self.liking(user_id, movie_id) - 1) / 4))

    def rating(self, user_id: str, movie_id: str, noise: float, rating_max: int) -> int:
        """The rating given, from 1 to ``rating_max``. ``noise``: a draw of the standard normal."""
        felt = self.liking(user_id, movie_id) + NOISE * noise
        scaled = felt if rating_max == 5 else 1 + (felt - 1) * (rating_max - 1) / 4
        return min(rating_max, max(1, round(scaled)))
