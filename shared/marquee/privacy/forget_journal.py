"""Journal of erasure requests: the finished steps of each, and the number of rows and objects removed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marquee.db.pool import Database
from marquee.db.privacy_marks import FORGOTTEN, PSEUDONYM_PREFIX, change_mark, digest_user

JOURNAL = "forget_requests"


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """One request as it is stored. ``user_id`` is None once the request is finished."""

    digest: bytes
    user_id: str | None
    requested: datetime
    finished: datetime | None
    done: dict[str, str]
    counts: dict[str, int]
    plan: dict[str, Any]
    receipt: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the user in rows, artifacts and logs: the id and the pseudonym; none once it is finished."""
        return () if self.user_id is None else (self.user_id, PSEUDONYM_PREFIX + self.digest.hex())


_COLUMNS = "digest, user_id, requested, finished, done, counts, plan, receipt"


def open_requests(database: Database, key: str, users: Iterable[str]) -> None:
    """Mark the users as forgotten and write their requests, in one transaction.

    An open request is unchanged; a finished one starts again. Raises :class:`PrivacyKeyWrong` if the marks in the
    database were made with another key.
    """
    distinct = sorted(set(users))
    with database.transaction() as cursor:
        change_mark(cursor, key, distinct, FORGOTTEN)
        for user in distinct:
            cursor.execute(
                "INSERT INTO forget_requests AS old (digest, user_id) VALUES (%s, %s) "
                "ON CONFLICT (digest) DO UPDATE SET user_id = excluded.user_id, finished = NULL, receipt = NULL, "
                "requested = CASE WHEN old.finished IS NULL THEN old.requested ELSE now() END, "
                "done = CASE WHEN old.finished IS NULL THEN old.done ELSE '{}' END, "
                "counts = CASE WHEN old.finished IS NULL THEN old.counts ELSE '{}' END, plan = old.plan",
                (digest_user(key, user), user),
            )


def list_open(database: Database) -> list[ForgetRequest]:
    """Return the open requests, the oldest first."""
    return _select(database, "finished IS NULL", ())


def find_request(database: Database, key: str, user: str) -> ForgetRequest | None:
    """Return the request of a user, open or finished; None if there is none."""
    found = _select(database, "digest = %s", (digest_user(key, user),))
    return found[0] if found else None


def add_count(cursor: Any, user: str, place: str, n: int) -> None:
    """Add ``n`` to the number removed of ``user`` in ``place``, within the transaction that removes them.

    ``user`` is the id or the pseudonym.
    """
    cursor.execute(
        "UPDATE forget_requests SET counts = jsonb_set(counts, ARRAY[%s], "
        "to_jsonb(coalesce((counts ->> %s)::bigint, 0) + %s)) "
        "WHERE user_id = %s OR (user_id IS NOT NULL AND %s || encode(digest, 'hex') = %s)",
        (place, place, n, user, PSEUDONYM_PREFIX, user),
    )


def add_counts(database: Database, user: str, counts: dict[str, int]) -> None:
    """Add to the numbers removed of ``user``, by place."""
    with database.transaction() as cursor:
        for place, n in counts.items():
            if n:
                add_count(cursor, user, place, n)


def set_plan(database: Database, requests: Sequence[ForgetRequest], name: str, value: object) -> None:
    """Store the decision of a step before the step acts on it."""
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE forget_requests SET plan = plan || jsonb_build_object(%s, %s::jsonb) WHERE digest = ANY (%s)",
            (name, json.dumps(value), [r.digest for r in requests]),
        )


def end_step(database: Database, requests: Sequence[ForgetRequest], step: str) -> None:
    """Record a step of the requests as finished."""
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE forget_requests SET done = done || jsonb_build_object(%s, now()) WHERE digest = ANY (%s)",
            (step, [r.digest for r in requests]),
        )


def finish(database: Database, request: ForgetRequest, receipt: str, finished: datetime) -> None:
    """Store the receipt, and remove the user id from the journal."""
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE forget_requests SET user_id = NULL, plan = '{}', receipt = %s, finished = %s WHERE digest = %s",
            (receipt, finished, request.digest),
        )


def _select(database: Database, condition: str, parameters: tuple[object, ...]) -> list[ForgetRequest]:
    query = f"SELECT {_COLUMNS} FROM forget_requests WHERE {condition} ORDER BY requested, digest"  # noqa: S608
    with database.transaction() as cursor:
        cursor.execute(query, parameters)
        return [ForgetRequest(bytes(row[0]), *row[1:]) for row in cursor.fetchall()]
