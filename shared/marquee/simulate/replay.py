"""MovieLens's later ratings, lived again: each becomes a watch session of its user, then the real rating."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from marquee.config.base_data import MOVIES_FILE, RATING_COLUMNS, RATINGS_FILE, earliest_fraction_end
from marquee.config.csv_file import read_csv
from marquee.errors import TrainingDataError
from marquee.simulate.catalogue import runtime
from marquee.simulate.hashed_rng import generator_for, seed_of, uniform
from marquee.simulate.watch_plan import WatchSession


class ReplayedRating(NamedTuple):
    """One rating of the base data."""

    user_id: str
    movie_id: str
    rating: int
    time: int


class ReplaySplit(NamedTuple):
    """What is replayed (in order of time), who had rated before, and the catalogue."""

    later: tuple[ReplayedRating, ...]
    known_users: frozenset[str]
    movie_ids: frozenset[str]


def split_base_data(
    directory: Path, fraction: float = 0.2, replayed: frozenset[tuple[str, str]] = frozenset()
) -> ReplaySplit:
    """Read the base data, cut at the time after which ``fraction`` of the ratings lie.

    ``replayed``: user and movie of those that an earlier run has replayed, and that are left out; when that
    is all of them it begins anew.
    Ratings of the very second of the cut are all later ones, so that whoever trains on what lies before
    that time sees none of them.
    """
    ratings = sorted(_rows(directory), key=lambda row: row.time)
    if not ratings:
        raise TrainingDataError(
            f"{directory / RATINGS_FILE} holds no rating: fetch it with `marquee data fetch`"
        )
    cut = earliest_fraction_end([row.time for row in ratings], 1 - fraction)
    later = tuple(row for row in ratings if row.time >= cut)
    left = tuple(row for row in later if (row.user_id, row.movie_id) not in replayed)
    known = frozenset(row.user_id for row in ratings if row.time < cut)
    return ReplaySplit(
        later=left or later,
        known_users=known | {user_id for user_id, _ in replayed},
        movie_ids=frozenset(row["movie_id"] for row in read_csv(directory / MOVIES_FILE, ["movie_id"])),
    )


def read_replayed(path: Path) -> frozenset[tuple[str, str]]:
    """User and movie of each row of a CSV file with those two columns."""
    return frozenset((row["user_id"], row["movie_id"]) for row in read_csv(path, ["user_id", "movie_id"]))


def _rows(directory: Path) -> Iterator[ReplayedRating]:
    for row in read_csv(directory / RATINGS_FILE, RATING_COLUMNS):
        try:
            yield ReplayedRating(row["user_id"], row["movie_id"], int(float(row["rating"])), int(row["time"]))
        except (TypeError, ValueError) as error:
            raise TrainingDataError(f"{directory / RATINGS_FILE}: {row} is not a rating") from error


class Replay:
    """The users of the later ratings, each in the order of the base data, one movie at a time.

    When a movie that a user was recommended is among those he has yet to see, he sees it next
    (``influence``: the share of the answers that he looks at). ``extra``: and when none is, he begins
    the first movie of the list that he has not seen, as a watch session that the base data do not hold.
    """

    def __init__(
        self,
        base: ReplaySplit,
        *,
        seed: int,
        rating_max: int = 5,
        influence: float = 0.3,
        extra: bool = False,
    ) -> None:
        self._base, self._seed, self._influence, self._extra = base, seed, influence, extra
        self._scale = rating_max // 5
        self._yet: dict[str, deque[ReplayedRating]] = {}
        for row in base.later:
            self._yet.setdefault(row.user_id, deque()).append(row)
        self._turns = deque(row.user_id for row in base.later)
        self._waiting: Counter[str] = Counter()
        self._watching: set[str] = set()
        self._free: deque[str] = deque()
        self._newcomers = set(self._yet) - base.known_users
        self._extras: deque[tuple[str, str]] = deque()
        self._followed: set[tuple[str, str]] = set()
        self._seen: set[tuple[str, str]] = set()

    @property
    def over(self) -> bool:
        return not (self._turns or self._waiting or self._watching or self._extras)

    def begin(self, *, midway: bool = False) -> WatchSession | None:
        if self._extras:
            user_id, movie_id = self._extras.popleft()
            if user_id not in self._watching:
                return self._session(user_id, movie_id, None, recommended=True)
        turn = self._turn()
        if turn is None:
            return None
        row = self._yet[turn].popleft()
        followed = (turn, row.movie_id) in self._followed
        return self._session(turn, row.movie_id, row.rating * self._scale, recommended=followed)

    def _turn(self) -> str | None:
        """Who is next: turns pass in the order of the base data; a busy user's wait until he is free."""
        while self._free:
            user_id = self._free.popleft()
            if user_id not in self._watching and self._waiting[user_id]:
                self._waiting[user_id] -= 1
                self._waiting += Counter()  # Drops those that stand at nought.
                return user_id
        while self._turns:
            user_id = self._turns.popleft()
            if user_id not in self._watching:
                return user_id
            self._waiting[user_id] += 1
        return None

    def end(self, session: WatchSession) -> None:
        self._watching.discard(session.user_id)
        if self._waiting[session.user_id]:
            self._free.append(session.user_id)

    def asks(self, number: int) -> str:
        place = seed_of(self._seed, "request", number) % len(self._base.later)
        return self._base.later[place].user_id

    def recommend(self, number: int, user_id: str, movie_ids: Sequence[str]) -> None:
        if uniform(self._seed, "answer", number) >= self._influence:
            return
        yet = self._yet.get(user_id, deque())
        places = {row.movie_id: place for place, row in enumerate(yet)}
        wanted = next((places[movie_id] for movie_id in movie_ids if movie_id in places), None)
        if wanted is not None:
            row = yet[wanted]
            del yet[wanted]
            yet.appendleft(row)
            self._followed.add((user_id, row.movie_id))
        elif self._extra:
            fresh = (m for m in movie_ids if self.knows(m) and (user_id, m) not in self._seen)
            self._extras.extend((user_id, movie_id) for movie_id in list(fresh)[:1])

    def knows(self, movie_id: str) -> bool:
        return movie_id in self._base.movie_ids

    def _session(
        self, user_id: str, movie_id: str, rating: int | None, *, recommended: bool = False
    ) -> WatchSession:
        account = user_id in self._newcomers
        self._newcomers.discard(user_id)
        self._watching.add(user_id)
        if self._extra:
            self._seen.add((user_id, movie_id))
        chance = generator_for(self._seed, "session", user_id, movie_id)
        # The credits are often left out.
        last = max(1, runtime(movie_id, self._seed) - int(chance.random() * 8))
        return WatchSession(
            user_id, movie_id, last, rating, chance.getrandbits(64), account=account, recommended=recommended
        )
