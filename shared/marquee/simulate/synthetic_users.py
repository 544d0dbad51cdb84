"""Synthetic users: any number of them; only those in a watch session take memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random

from marquee.events.log_scale import LogScale
from marquee.simulate.catalog import SyntheticCatalog, runtime_minutes
from marquee.simulate.hashed_rng import coprime_stride, derive_seed, generator_for, zipf_rank
from marquee.simulate.preferences import Preferences
from marquee.simulate.watch_plan import PlannedSession

# From recorded event logs: 0.5 ratings per 98.5 watches, 110 records per watch session.
RATED_FRACTION = 0.56
FINISHED_FRACTION = 0.85
# One watch session in fifty is the first of a new user.
NEW_USER_FRACTION = 0.02
# Probability of starting a recommended movie that has the highest appeal.
START_PROBABILITY = 0.5
_CANDIDATES = 4
_MAX_QUEUED = 10_000


class SyntheticUsers:
    """A population of ``users`` users with latent preferences; activity and popularity follow Zipf's law.

    ``influence`` is the fraction of recommendations that a user considers. They go down the list and start
    the first movie that appeals to them, so a list that matches their preferences is followed more often.
    """

    finished = False

    def __init__(self, users: int, catalog: SyntheticCatalog, *, seed: int, scale: LogScale, influence: float) -> None:
        if users < 1:
            raise ValueError(f"a population of {users} users: at least one is required")
        self._users, self._catalog, self._seed = users, catalog, seed
        self._scale, self._influence = scale, influence
        self.preferences = Preferences(seed)
        self._stride = coprime_stride(derive_seed(seed, "stride"), users)
        self._sessions = self._accounts = 0
        self._watching: set[str] = set()
        self._recommended: deque[tuple[str, str]] = deque(maxlen=_MAX_QUEUED)

    def user_id(self, rank: int) -> str:
        """Return the id of the user with activity rank ``rank``, from 0; ids are not in that order."""
        return str(1 + (rank * self._stride + self._seed) % self._users)

    def start_session(self, *, midway: bool = False) -> PlannedSession | None:
        """See :class:`UserPopulation`."""
        self._sessions += 1
        rng = generator_for(self._seed, "session", self._sessions)
        if not midway and self._recommended:
            user_id, movie_id = self._recommended.popleft()
            if user_id not in self._watching:
                return self._plan(rng, user_id, movie_id, recommended=True)
        account = not midway and rng.random() < NEW_USER_FRACTION
        user_id = self._new_user() if account else self._free_user(rng)
        session = self._plan(rng, user_id, self._choose_movie(rng, user_id), account=account)
        if midway:
            session.minute = int(rng.random() * session.last_minute)
        return session

    def end_session(self, session: PlannedSession) -> None:
        """See :class:`UserPopulation`."""
        self._watching.discard(session.user_id)

    def requesting_user(self, number: int) -> str:
        """See :class:`UserPopulation`."""
        return self._draw_user(generator_for(self._seed, "request", number))

    def receive_recommendation(self, number: int, user_id: str, movie_ids: Sequence[str]) -> None:
        """See :class:`UserPopulation`."""
        rng = generator_for(self._seed, "answer", number)
        if rng.random() >= self._influence or user_id in self._watching:
            return
        for movie_id in filter(self.has_movie, movie_ids):
            if rng.random() < START_PROBABILITY * self.preferences.appeal(user_id, movie_id) ** 2:
                self._recommended.append((user_id, movie_id))
                return

    def has_movie(self, movie_id: str) -> bool:
        """See :class:`UserPopulation`."""
        return self._catalog.movie_number(movie_id) is not None

    def _new_user(self) -> str:
        self._accounts += 1
        return str(self._users + self._accounts)

    def _draw_user(self, rng: Random) -> str:
        return self.user_id(zipf_rank(rng.random(), self._users, exponent=0.7, offset=100))

    def _free_user(self, rng: Random) -> str:
        # A user watches one movie at a time, unless nearly all users are watching.
        for _ in range(8):
            user_id = self._draw_user(rng)
            if user_id not in self._watching:
                break
        return user_id

    def _choose_movie(self, rng: Random, user_id: str) -> str:
        """Choose the preferred one of a few popular movies, so that watch sessions also reveal preferences."""
        ranks = (zipf_rank(rng.random(), self._catalog.movies, exponent=1.0, offset=20) for _ in range(_CANDIDATES))
        ids = map(self._catalog.movie_id, ranks)
        return max(ids, key=lambda movie_id: self.preferences.expected_rating(user_id, movie_id) + rng.gauss(0, 0.7))

    def _plan(
        self, rng: Random, user_id: str, movie_id: str, *, account: bool = False, recommended: bool = False
    ) -> PlannedSession:
        self._watching.add(user_id)
        rating = self.preferences.rating(user_id, movie_id, rng.gauss(0, 1), self._scale)
        watched = 1.0 if rng.random() < FINISHED_FRACTION else rng.random()
        return PlannedSession(
            user_id,
            movie_id,
            last_minute=max(1, int(runtime_minutes(movie_id, self._seed) * watched)),
            rating=rating if rng.random() < RATED_FRACTION else None,
            state=rng.getrandbits(64),
            account=account,
            recommended=recommended,
        )
