"""Readers of one user's data, each within a deadline: record, history, cohorts and age."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from marquee.registry.user_store import UserRecord
from marquee.serving.answer import StepTimer
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.engine import Engine
from marquee.serving.list_request import ListRequest
from marquee.serving.page_token import Page
from marquee.serving.scored_movie import Cohorts, ScoredMovie
from marquee.serving.user_state import UserState, build_user_state

if TYPE_CHECKING:
    from marquee.db.user_history import History

# Notes of an answer.
OBJECT_STORE_UNAVAILABLE = "object-store-unavailable"
DATABASE_UNAVAILABLE = "database-unavailable"
RECORD_DAMAGED = "user-record-damaged"
CUSTOMERS_UNAVAILABLE = "customer-service-unavailable"

_OVERLAP = timedelta(minutes=10)
"""Records of the event log may arrive after a model was trained through their time. Duplicates are ignored."""

HistoryReader: TypeAlias = "Callable[[str, datetime | None], History]"
"""Function that returns a user's history since a time (None: all of it). Raises :class:`Unavailable` on failure."""

CohortReader: TypeAlias = "Callable[[str], Cohorts]"
"""Function that returns a user's cohorts, empty for an unknown user. Raises :class:`Unavailable` on failure."""

AgeReader: TypeAlias = "Callable[[str], int | None]"
"""Function that returns the age of a user's account. Raises :class:`Unavailable` on failure."""


def history_start(engine: Engine, record: UserRecord | None) -> datetime | None:
    """Return the time from which a user's history is read; None, for the whole history, without a record."""
    return engine.trained_through - _OVERLAP if record else None


def cut_history(history: History, since: datetime | None) -> History:
    """Return the part of the history from ``since`` on; all of it if that is None."""
    if since is None:
        return history
    return type(history)(
        tuple(rated for rated in history.ratings if rated.time >= since),
        tuple(watched for watched in history.watched if watched.time >= since),
    )


class UserTask:
    """State of one request.

    ``rated``: ratings are predicted, which a plain answer that is not logged does not need.
    ``user_id`` is the id under which the user's data are stored, ``account_id`` that of the request; without pseudonyms
    they are equal.
    """

    __slots__ = (
        "account_id", "age", "cohorts", "has_record", "history", "notes", "now", "other_record", "page", "popular",
        "rated", "recommendation_id", "request", "teams", "timer", "user_id",
    )  # fmt: skip

    def __init__(
        self,
        user_id: str,
        now: datetime,
        request: ListRequest,
        page: Page,
        recommendation_id: UUID,
        account_id: str | None = None,
        *,
        rated: bool = True,
    ) -> None:
        self.user_id, self.now, self.request, self.page = user_id, now, request, page
        self.recommendation_id = recommendation_id
        self.rated = rated or bool(request.explain)
        self.account_id = user_id if account_id is None else account_id
        self.notes: list[str] = []
        self.timer = StepTimer()
        # The data that were read, for the impression.
        self.has_record = self.other_record = False
        self.teams = ""
        self.history: History | None = None
        self.cohorts: Cohorts = ()
        self.age: int | None = None
        self.popular: Sequence[ScoredMovie] = ()


class UserReaders:
    """Readers of the data of one user. They add a note to the task for each unavailable source."""

    def __init__(
        self,
        objects: DeadlineExecutor,
        history: HistoryReader | None,
        cohorts: CohortReader | None,
        ages: AgeReader | None,
    ) -> None:
        self._objects, self._history, self._cohorts, self._ages = objects, history, cohorts, ages

    def read_state(self, engine: Engine, task: UserTask) -> UserState:
        """Return the user's state from their record and their recent history."""
        record = self._read_record(engine, task)
        if record is None and engine.is_damaged(task.user_id):
            task.notes.append(RECORD_DAMAGED)
        task.has_record = record is not None
        task.timer.end("record")
        history = self.read_history(history_start(engine, record), task)
        task.timer.end("history")
        return build_user_state(engine.item_factors, record, history)

    def read_states(self, engines: Sequence[Engine], task: UserTask) -> list[UserState]:
        """Return the user's state for the engines of an interleaved list, from one read of the recent history.

        The user's own arm comes first.
        """
        records = [self._read_record(engine, task) for engine in engines]
        if any(engine.is_damaged(task.user_id) for engine in engines):
            task.notes.append(RECORD_DAMAGED)
        task.has_record, task.other_record = records[0] is not None, records[-1] is not None
        task.timer.end("record")
        starts = list(map(history_start, engines, records))
        history = self.read_history(None if None in starts else min(filter(None, starts)), task)
        task.timer.end("history")
        return [
            build_user_state(engine.item_factors, record, history and cut_history(history, start))
            for engine, record, start in zip(engines, records, starts, strict=True)
        ]

    def _read_record(self, engine: Engine, task: UserTask) -> UserRecord | None:
        is_cached, record = engine.get_cached_record(task.user_id)
        if is_cached:
            return record
        try:
            if engine.maps_users:  # Reading mapped memory needs no deadline.
                return engine.read_record(task.user_id)
            return self._objects.run(lambda _: engine.read_record(task.user_id))
        except Unavailable:
            task.notes.append(OBJECT_STORE_UNAVAILABLE)
            return None

    def read_history(self, since: datetime | None, task: UserTask) -> History | None:
        """Return the user's history since a time; None if it is unavailable."""
        if self._history is None:
            return None
        try:
            task.history = self._history(task.user_id, since)
            return task.history
        except Unavailable:
            task.notes.append(DATABASE_UNAVAILABLE)
            return None

    def read_cohorts(self, engine: Engine, task: UserTask) -> Cohorts:
        """Return the user's cohorts; empty if they are unknown or unavailable."""
        if self._cohorts is None or not engine.item_factors.cohorts:
            return ()
        try:
            task.cohorts = self._cohorts(task.account_id)
            return task.cohorts
        except Unavailable:
            task.notes.append(CUSTOMERS_UNAVAILABLE)
            return ()
        finally:
            task.timer.end("customer")

    def read_age(self, task: UserTask) -> int | None:
        """Return the age of the account, None if it is unknown or cannot be read in time."""
        if self._ages is None:
            return None
        try:
            task.age = self._ages(task.account_id)
            return task.age
        except Unavailable:
            task.notes.append(CUSTOMERS_UNAVAILABLE)
            return None
        finally:
            task.timer.end("customer")
