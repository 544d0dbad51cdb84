"""Made customers: any number, none of them held. Only those who are watching take room."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random

from marquee.simulate.catalogue import SyntheticCatalogue, runtime
from marquee.simulate.hashed_rng import coprime, generator_for, seed_of, zipf_rank
from marquee.simulate.preferences import Preferences
from marquee.simulate.watch_plan import WatchSession

# Shares read off the recorded logs (stream-protocol): .5 ratings to 98.5 watch lines, 110 lines a watch session.
RATED = 0.56
FINISHED = 0.85
# One watch session in fifty is the first of a new customer.
NEW_CUSTOMERS = 0.02
# A movie is tempting enough to be begun with this chance, when it is wholly to the customer's taste.
TEMPTING = 0.5
_CANDIDATES = 4
_WAITING = 10_000


class SyntheticUsers:
    """``users`` customers of a ``catalogue``: busy ones and popular movies by Zipf's law, tastes by seed.

    ``influence``: the share of answers that the customer looks at. Going down the list he begins the first
    movie that tempts him, so that a list which knows his taste is followed more often.
    """

    def __init__(
        self, users: int, catalogue: SyntheticCatalogue, *, seed: int, rating_max: int, influence: float
    ) -> None:
        if users < 1:
            raise ValueError(f"{users} customers: at least one is needed")
        self._users, self._catalogue, self._seed = users, catalogue, seed
        self._rating_max, self._influence = rating_max, influence
        self.taste = Preferences(seed)
        self._stride = coprime(seed_of(seed, "stride"), users)
        self._begun = self._created = 0
        self._watching: set[str] = set()
        self._tempted: deque[tuple[str, str]] = deque(maxlen=_WAITING)

    over = False

    def user_id(self, rank: int) -> str:
        """The id of the customer who is ``rank``-th busiest, from 0: the ids are not in that order."""
        return str(1 + (rank * self._stride + self._seed) % self._users)

    def begin(self, *, midway: bool = False) -> WatchSession | None:
        self._begun += 1
        chance = generator_for(self._seed, "session", self._begun)
        if not midway and self._tempted:
            user_id, movie_id = self._tempted.popleft()
            if user_id not in self._watching:
                return self._session(chance, user_id, movie_id, recommended=True)
        account = not midway and chance.random() < NEW_CUSTOMERS
        user_id = self._newcomer() if account else self._somebody(chance)
        session = self._session(chance, user_id, self._choice(chance, user_id), account=account)
        if midway:
            session.minute = int(chance.random() * session.last_minute)
        return session

    def end(self, session: WatchSession) -> None:
        self._watching.discard(session.user_id)

    def asks(self, number: int) -> str:
        return self._ranked(generator_for(self._seed, "request", number))

    def recommend(self, number: int, user_id: str, movie_ids: Sequence[str]) -> None:
        chance = generator_for(self._seed, "answer", number)
        if chance.random() >= self._influence or user_id in self._watching:
            return
        for movie_id in filter(self.knows, movie_ids):
            if chance.random() < TEMPTING * self.taste.appetite(user_id, movie_id) ** 2:
                self._tempted.append((user_id, movie_id))
                return

    def knows(self, movie_id: str) -> bool:
        return self._catalogue.number(movie_id) is not None

    def _newcomer(self) -> str:
        self._created += 1
        return str(self._users + self._created)

    def _ranked(self, chance: Random) -> str:
        return self.user_id(zipf_rank(chance.random(), self._users, exponent=0.7, offset=100))

    def _somebody(self, chance: Random) -> str:
        # Nobody watches two movies at once, unless nearly everybody is watching.
        for _ in range(8):
            user_id = self._ranked(chance)
            if user_id not in self._watching:
                break
        return user_id

    def _choice(self, chance: Random, user_id: str) -> str:
        """Out of a few movies that are popular, the one most to his taste: so watch sessions tell of taste too."""
        ranks = (
            zipf_rank(chance.random(), self._catalogue.movies, exponent=1.0, offset=20)
            for _ in range(_CANDIDATES)
        )
        ids = map(self._catalogue.movie_id, ranks)
        return max(ids, key=lambda movie_id: self.taste.liking(user_id, movie_id) + chance.gauss(0, 0.7))

    def _session(
        self,
        chance: Random,
        user_id: str,
        movie_id: str,
        *,
        account: bool = False,
        recommended: bool = False,
    ) -> WatchSession:
        self._watching.add(user_id)
        rating = self.taste.rating(user_id, movie_id, chance.gauss(0, 1), self._rating_max)
        length = runtime(movie_id, self._seed) * (1.0 if chance.random() < FINISHED else chance.random())
        return WatchSession(
            user_id,
            movie_id,
            last_minute=max(1, int(length)),
            rating=rating if chance.random() < RATED else None,
            state=chance.getrandbits(64),
            account=account,
            recommended=recommended,
        )
