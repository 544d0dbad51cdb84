"""Replay of the later ratings of base data: each becomes a watch session of its user, then the actual rating."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from marquee.config.base_data import (
    MOVIES_FILE,
    RATINGS_FILE,
    BaseRating,
    earliest_fraction_end,
    read_ratings,
    read_scale,
    read_side_table,
)
from marquee.config.csv_file import read_csv
from marquee.errors import TrainingDataError
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.events.record_syntax import is_movie_id, is_user_id
from marquee.simulate.catalog import runtime_minutes
from marquee.simulate.hashed_rng import derive_seed, generator_for, uniform
from marquee.simulate.watch_plan import PlannedSession


class ReplaySplit(NamedTuple):
    """The ratings to replay in order of time, the users who rated before, the catalog, and the rating scale."""

    later: tuple[BaseRating, ...]
    known_users: frozenset[str]
    movie_ids: frozenset[str]
    scale: tuple[float, float] = (1.0, 5.0)


def split_base_data(
    directory: Path, fraction: float = 0.2, replayed: frozenset[tuple[str, str]] = frozenset()
) -> ReplaySplit:
    """Read the base data and split off the latest ``fraction`` of the ratings.

    The split is the one of training (:func:`~marquee.config.base_data.earliest_fraction_end`), so a model of
    the earlier ratings has seen none of the later ones.

    ``replayed`` are pairs of user and movie that earlier runs have replayed, which are left out. If nothing remains,
    everything is replayed again. Raises :class:`TrainingDataError` if a file is missing or malformed, or if there are
    no ratings.
    """
    ratings = sorted(read_ratings(directory / RATINGS_FILE), key=lambda row: row.time)
    if not ratings:
        raise TrainingDataError(f"{directory / RATINGS_FILE} holds no ratings: fetch them with `marquee data fetch`")
    end = earliest_fraction_end([row.time for row in ratings], 1 - fraction)
    later = tuple(row for row in ratings if row.time >= end)
    remaining = tuple(row for row in later if (row.user_id, row.movie_id) not in replayed)
    known = frozenset(row.user_id for row in ratings if row.time < end)
    return ReplaySplit(
        later=remaining or later,
        known_users=known | {user_id for user_id, _ in replayed},
        movie_ids=frozenset(_read_movies(directory / MOVIES_FILE)),
        scale=read_scale(directory) or (1.0, 5.0),
    )


def check_log_ids(directory: Path) -> None:
    """Raise :class:`TrainingDataError` if the text of the event log cannot have an id of the ratings."""
    for row in read_ratings(directory / RATINGS_FILE):
        for kind, id_, is_valid in (("user", row.user_id, is_user_id), ("movie", row.movie_id, is_movie_id)):
            if not is_valid(id_):
                raise TrainingDataError(
                    f"{directory / RATINGS_FILE} has the {kind} {id_!r}, which the text of the event log cannot have: "
                    "users are numbers, and movies are [a-z0-9+_.*-] with + or + and a year at the end. "
                    "`marquee data import --log-ids` writes such ids"
                )


def read_replayed(path: Path) -> frozenset[tuple[str, str]]:
    """Read pairs of user and movie from the columns ``user_id`` and ``movie_id`` of a CSV file."""
    return frozenset((row["user_id"], row["movie_id"]) for row in read_csv(path, ["user_id", "movie_id"]))


def _read_movies(path: Path) -> Iterable[str]:
    if not path.is_file():
        raise TrainingDataError(f"{path} is missing: the replay needs the catalog; `marquee data fetch` writes it")
    return read_side_table(path, "movie_id")


class Replay:
    """The users of the later ratings, each in the order of the base data, one movie at a time.

    Users consider the fraction ``influence`` of their recommendations: next, they watch the first recommended movie
    among their remaining ones. With ``extra_sessions`` they otherwise start the first unseen movie of the list,
    although the base data have no such watch session.
    """

    def __init__(
        self,
        split: ReplaySplit,
        *,
        seed: int,
        scale: LogScale = FIVE_STARS,
        influence: float = 0.3,
        extra_sessions: bool = False,
    ) -> None:
        self._split, self._seed, self._influence = split, seed, influence
        self._extra_sessions = extra_sessions
        self._scale = scale
        self._remaining: dict[str, deque[BaseRating]] = {}
        for row in split.later:
            self._remaining.setdefault(row.user_id, deque()).append(row)
        self._turns = deque(row.user_id for row in split.later)
        self._delayed_turns: Counter[str] = Counter()
        self._watching: set[str] = set()
        self._free: deque[str] = deque()
        self._new_users = set(self._remaining) - split.known_users
        self._extra: deque[tuple[str, str]] = deque()
        self._followed: set[tuple[str, str]] = set()
        self._seen: set[tuple[str, str]] = set()

    @property
    def finished(self) -> bool:
        """See :class:`UserPopulation`."""
        return not (self._turns or self._delayed_turns or self._watching or self._extra)

    def start_session(self, *, midway: bool = False) -> PlannedSession | None:  # noqa: ARG002
        """See :class:`UserPopulation`."""
        if self._extra:
            user_id, movie_id = self._extra.popleft()
            if user_id not in self._watching:
                return self._plan(user_id, movie_id, None, recommended=True)
        next_user = self._next_user()
        if next_user is None:
            return None
        row = self._remaining[next_user].popleft()
        followed = (next_user, row.movie_id) in self._followed
        return self._plan(next_user, row.movie_id, self._to_log(row.rating), recommended=followed)

    def _to_log(self, rating: float) -> float:
        """Return a rating on the scale of the event log; training maps the base data in the same way."""
        (low, high), scale = self._split.scale, self._scale
        return scale.nearest(scale.low + (rating - low) * (scale.high - scale.low) / (high - low))

    def _next_user(self) -> str | None:
        """Return the next user in the order of the base data; turns of a busy user wait until they are free."""
        while self._free:
            user_id = self._free.popleft()
            if user_id not in self._watching and self._delayed_turns[user_id]:
                self._delayed_turns[user_id] -= 1
                # Adding an empty counter drops the users without a delayed turn.
                self._delayed_turns += Counter()
                return user_id
        while self._turns:
            user_id = self._turns.popleft()
            if user_id not in self._watching:
                return user_id
            self._delayed_turns[user_id] += 1
        return None

    def end_session(self, session: PlannedSession) -> None:
        """See :class:`UserPopulation`."""
        self._watching.discard(session.user_id)
        if self._delayed_turns[session.user_id]:
            self._free.append(session.user_id)

    def requesting_user(self, number: int) -> str:
        """See :class:`UserPopulation`."""
        index = derive_seed(self._seed, "request", number) % len(self._split.later)
        return self._split.later[index].user_id

    def receive_recommendation(self, number: int, user_id: str, movie_ids: Sequence[str]) -> None:
        """See :class:`UserPopulation`."""
        if uniform(self._seed, "answer", number) >= self._influence:
            return
        remaining = self._remaining.get(user_id, deque())
        positions = {row.movie_id: position for position, row in enumerate(remaining)}
        chosen = next((positions[movie_id] for movie_id in movie_ids if movie_id in positions), None)
        if chosen is not None:
            row = remaining[chosen]
            del remaining[chosen]
            remaining.appendleft(row)
            self._followed.add((user_id, row.movie_id))
        elif self._extra_sessions:
            unseen = (m for m in movie_ids if self.has_movie(m) and (user_id, m) not in self._seen)
            self._extra.extend((user_id, movie_id) for movie_id in list(unseen)[:1])

    def has_movie(self, movie_id: str) -> bool:
        """See :class:`UserPopulation`."""
        return movie_id in self._split.movie_ids

    def _plan(self, user_id: str, movie_id: str, rating: float | None, *, recommended: bool = False) -> PlannedSession:
        account = user_id in self._new_users
        self._new_users.discard(user_id)
        self._watching.add(user_id)
        if self._extra_sessions:
            self._seen.add((user_id, movie_id))
        rng = generator_for(self._seed, "session", user_id, movie_id)
        # Users often skip the credits.
        last = max(1, runtime_minutes(movie_id, self._seed) - int(rng.random() * 8))
        return PlannedSession(
            user_id, movie_id, last, rating, rng.getrandbits(64), account=account, recommended=recommended
        )
