"""Readers of one user's data as an impression logged them, and the popular movies of that time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from marquee.db.user_history import History
from marquee.events.batches import Impression, ListInputs
from marquee.registry.user_store import UserRecord
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.engine import Engine
from marquee.serving.list_inputs import read_history
from marquee.serving.popular_movies import PopularMovies
from marquee.serving.recommender import SCORING_FAILED
from marquee.serving.scored_movie import Cohorts, Tier
from marquee.serving.user_readers import UserReaders, UserTask, cut_history, history_start
from marquee.serving.user_state import UserState, build_user_state

PastHistory: TypeAlias = Callable[[str, "datetime | None", datetime], History]
"""Function that reads a user's history between two times from the tables."""


class RecordedReaders(UserReaders):
    """Readers of the user data in an impression. ``approximate`` collects descriptions of data that were not logged."""

    def __init__(self, shown: Impression, past: PastHistory | None) -> None:
        super().__init__(DeadlineExecutor("object store", deadline_ms=1, threads=0), None, None, None)
        self._shown = shown
        self._inputs = shown.inputs or ListInputs(record=True)
        self._past = past
        self.approximate: list[str] = [] if shown.inputs else ["the impression has no inputs: an earlier program"]

    def read_state(self, engine: Engine, task: UserTask) -> UserState:
        """Return the user's state at that time. Raises :class:`Unavailable` if scoring failed then."""
        if SCORING_FAILED in self._shown.notes and engine.version == self._shown.model_version:
            raise Unavailable("scoring failed when the list was made")
        record = engine.read_record(task.user_id) if self._inputs.record else None
        since = history_start(engine, record)
        if engine.version == self._shown.model_version or not self._shown.model_version:
            history = self._complete(since)
        else:
            history = self._history_of_other(engine, since)
        return build_user_state(engine.item_factors, record, history)

    def _read_record(self, engine: Engine, task: UserTask) -> UserRecord | None:
        is_own = engine.version == self._shown.model_version
        was_used = self._inputs.record if is_own else self._inputs.other_record
        return engine.read_record(task.user_id) if was_used else None

    def read_history(self, since: datetime | None, task: UserTask) -> History | None:  # noqa: ARG002
        """Return the history as of that time."""
        return self._complete(since)

    def read_cohorts(self, engine: Engine, task: UserTask) -> Cohorts:  # noqa: ARG002
        """Return the cohorts that were used."""
        return self._inputs.cohorts

    def read_age(self, task: UserTask) -> int | None:  # noqa: ARG002
        """Return the age rating that the account allowed."""
        return self._inputs.max_age

    def _complete(self, since: datetime | None) -> History:
        """Return the history that was used; events that were not logged come from the tables."""
        if self._shown.inputs is None:
            return self._read_past(since)
        kept = read_history(self._inputs)
        if not self._inputs.left_out:
            return kept
        self.approximate.append(f"{self._inputs.left_out} older events were not kept: the tables have them now")
        past = self._read_past(since)
        rated, watched = {r.movie_id for r in kept.ratings}, {w.movie_id for w in kept.watched}
        return History(
            kept.ratings + tuple(r for r in past.ratings if r.movie_id not in rated),
            kept.watched + tuple(w for w in past.watched if w.movie_id not in watched),
        )

    def _history_of_other(self, engine: Engine, since: datetime | None) -> History:
        """Return the history that another model would have read, which may begin before the logged one."""
        if engine.trained_through > self._shown.time:
            self.approximate.append(f"model {engine.version} was trained after the list, and knows what came later")
        kept = self._complete(since)
        if self._shown.inputs is None:
            return kept
        kept = cut_history(kept, since)
        past = self._read_past(since)
        known = {(r.movie_id, r.time) for r in kept.ratings}
        rated = sorted(
            (*kept.ratings, *(r for r in past.ratings if (r.movie_id, r.time) not in known)),
            key=lambda r: r.time,
            reverse=True,
        )
        watched = {w.movie_id: w for w in (*past.watched, *kept.watched)}
        latest = {r.movie_id: r for r in reversed(rated)}
        return History(
            tuple(sorted(latest.values(), key=lambda r: r.time, reverse=True)),
            tuple(sorted(watched.values(), key=lambda w: w.time, reverse=True)),
        )

    def _read_past(self, since: datetime | None) -> History:
        if self._past is None:
            self.approximate.append("there is no database to read the older history from")
            return History((), ())
        return self._past(self._shown.user_id, since, self._shown.time)


def recall_popular(shown: Impression) -> PopularMovies | None:
    """Return the database's popular movies as they were read for the impression."""
    if shown.release or shown.inputs is None:
        return None
    movies: Sequence[tuple[str, float]] = shown.inputs.popular
    reads = iter((True, shown.tier != Tier.LAST_RESORT))

    def query(limit: int) -> list[tuple[str, float]]:
        if not next(reads):
            raise Unavailable("the database was unavailable")
        return list(movies[:limit])

    popular = PopularMovies(query, refresh_s=-1.0)
    popular.read()
    return popular
