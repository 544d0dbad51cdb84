"""Latent preferences of users, derived from hashed seeds, which models should learn.

``expected rating = mean + b_user + c_movie + p_user . q_movie``, the form of the trained model, plus noise.
The best possible RMSE on the five-point scale is about 0.85, from the noise and the rounding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from marquee.events.log_scale import LogScale
from marquee.simulate.hashed_rng import generator_for

FACTORS = 8
MEAN_RATING = 3.6
NOISE_STD = 0.8
# With 8 factors the dot product then has a standard deviation of about 0.6.
_FACTOR_STD = 0.46
_BIAS_STD = 0.4


class _LatentFactors(NamedTuple):
    bias: float
    vector: tuple[float, ...]


class Preferences:
    """Preferences on the scale from 1 to 5, for any user and any movie; only two caches are stored."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._user = lru_cache(4096)(lambda user_id: self._factors("user", user_id))
        self._movie = lru_cache(4096)(lambda movie_id: self._factors("movie", movie_id))

    def _factors(self, kind: str, name: str) -> _LatentFactors:
        rng = generator_for(self._seed, kind, name)
        return _LatentFactors(rng.gauss(0, _BIAS_STD), tuple(rng.gauss(0, _FACTOR_STD) for _ in range(FACTORS)))

    def expected_rating(self, user_id: str, movie_id: str) -> float:
        """Return the rating without noise and rounding; mostly from 1 to 5, not clipped."""
        user, movie = self._user(user_id), self._movie(movie_id)
        return MEAN_RATING + user.bias + movie.bias + sum(map(float.__mul__, user.vector, movie.vector))

    def appeal(self, user_id: str, movie_id: str) -> float:
        """Return the expected rating mapped to [0, 1]."""
        return min(1.0, max(0.0, (self.expected_rating(user_id, movie_id) - 1) / 4))

    def rating(self, user_id: str, movie_id: str, noise: float, scale: LogScale) -> float:
        """Return the rating on ``scale``; ``noise`` is a draw of the standard normal."""
        value = self.expected_rating(user_id, movie_id) + NOISE_STD * noise
        return scale.nearest(scale.low + (value - 1) * (scale.high - scale.low) / 4)
