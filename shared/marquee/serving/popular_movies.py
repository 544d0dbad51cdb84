"""The database's most popular movies, for a time when there is no release yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from marquee.serving.deadline import Unavailable
from marquee.serving.engine import ScoredMovie

MOVIES = 200
"""Enough that a list stays full for nearly everybody once seen movies are left out."""


class PopularMovies:
    """Asks at most every ``refresh_s``; what came last is remembered for when the database is away.

    ``ask``: how many movies -> (movie_id, score), best first; raises :class:`Unavailable`.
    """

    def __init__(
        self,
        ask: Callable[[int], list[tuple[str, float]]],
        *,
        refresh_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask_for = ask
        self._refresh_s = refresh_s
        self._clock = clock
        self._asking = threading.Lock()
        self._ask_at = float("-inf")
        self._movies: list[ScoredMovie] = []
        self._away = False

    def movies(self) -> tuple[list[ScoredMovie], bool]:
        """The movies, best first, and whether they are fresh; none where they never could be had."""
        if self._clock() >= self._ask_at and self._asking.acquire(blocking=not self._movies):
            try:
                if self._clock() >= self._ask_at:  # Another thread may have asked while we waited.
                    self._ask()
            finally:
                self._asking.release()
        return self._movies, not self._away

    def _ask(self) -> None:
        try:
            found = self._ask_for(MOVIES)
        except Unavailable:
            self._away = True
            return
        self._away = False
        self._movies = [ScoredMovie(movie_id, score, None) for movie_id, score in found]
        if self._movies:  # An empty database may fill at any moment.
            self._ask_at = self._clock() + self._refresh_s
