"""Popular movies from the database, for the time before the first release."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from marquee.serving.deadline import Unavailable
from marquee.serving.scored_movie import ScoredMovie

MOVIES = 200
"""Number of movies that keeps almost every list full after seen movies are excluded."""


class PopularMovies:
    """Popular movies, queried at most once every ``refresh_s`` and kept while the database is unavailable.

    ``query`` maps a limit to (movie_id, score) pairs, best first. It raises :class:`Unavailable` if the database fails.
    """

    def __init__(
        self,
        query: Callable[[int], list[tuple[str, float]]],
        *,
        refresh_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._query = query
        self._refresh_s = refresh_s
        self._clock = clock
        self._query_lock = threading.Lock()
        self._next_query = float("-inf")
        self._movies: list[ScoredMovie] = []
        self._unavailable = False

    def read(self) -> tuple[list[ScoredMovie], bool]:
        """Return the movies, best first, and whether they are fresh; empty if no query has succeeded yet."""
        if self._clock() >= self._next_query and self._query_lock.acquire(blocking=not self._movies):
            try:
                if self._clock() >= self._next_query:  # Another thread may have queried meanwhile.
                    self._refresh()
            finally:
                self._query_lock.release()
        return self._movies, not self._unavailable

    def _refresh(self) -> None:
        try:
            rows = self._query(MOVIES)
        except Unavailable:
            self._unavailable = True
            return
        self._unavailable = False
        self._movies = [ScoredMovie(movie_id, score, None) for movie_id, score in rows]
        if self._movies:  # An empty database is queried again at once.
            self._next_query = self._clock() + self._refresh_s
