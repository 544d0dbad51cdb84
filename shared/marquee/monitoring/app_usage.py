"""Use of the app: the monitor reads analytics events from MongoDB and writes outcomes, days, funnels and retention.

It pulls, so the app never waits for the database, and a crash loses nothing. Events are read by their arrival from a
watermark, with an overlap for instances whose clocks differ. Everything may be repeated: outcomes are combined by OR,
and the numbers of a day are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from marquee.app.documents import Documents
from marquee.app.usage_reports import (
    ListOutcome,
    find_days,
    read_outcomes,
    report_day,
    report_funnel,
    report_retention,
    report_screens,
)
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader, MarkSet
from marquee.monitoring.app_outcome_hours import update_outcome_hours

OVERLAP = timedelta(minutes=10)
"""Time before the watermark from which events are read again."""
FIRST_READ = timedelta(days=30)
"""Period of events that the first run reads."""
COHORTS = timedelta(weeks=12)
RETENTION_INTERVAL = timedelta(hours=1)
"""Interval at which retention is computed, because it reads all events."""
LATE_LISTS = timedelta(days=7)
"""Age up to which an outcome waits for its impression, which another part delivers."""
DEADLINE_MS, CHUNK = 60_000, 1_000
_DAY = timedelta(days=1)
_NAME = "events"

_WATERMARK = "SELECT received FROM app_progress WHERE name = %s"
_ADVANCE = """
INSERT INTO app_progress (name, received) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET received = excluded.received"""
_OUTCOME = """
INSERT INTO app_outcomes (recommendation_id, movie_id, user_id, position, seen, opened, played, finished, at)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::integer[], %s::boolean[], %s::boolean[], %s::boolean[],
                     %s::boolean[], %s::timestamptz[])
ON CONFLICT (recommendation_id, movie_id) DO UPDATE SET
    position = least(app_outcomes.position, excluded.position),
    seen = app_outcomes.seen OR excluded.seen,
    opened = app_outcomes.opened OR excluded.opened,
    played = app_outcomes.played OR excluded.played,
    finished = app_outcomes.finished OR excluded.finished,
    at = least(app_outcomes.at, excluded.at)
WHERE app_outcomes.user_id = excluded.user_id"""
_JOIN_LISTS = """
UPDATE app_outcomes AS outcome
SET arm = list.arm, model_version = list.model_version, list_position = list.position, propensity = list.propensity
FROM app_list_outcomes AS list
WHERE outcome.arm IS NULL AND outcome.at >= %s
  AND list.recommendation_id = outcome.recommendation_id AND list.movie_id = outcome.movie_id"""
_INSERT_DAY = """
INSERT INTO app_days (time, events, lost, users, sessions, failed_sessions) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (time) DO UPDATE SET events = excluded.events, lost = excluded.lost, users = excluded.users,
    sessions = excluded.sessions, failed_sessions = excluded.failed_sessions"""
_DELETE_FUNNEL = "DELETE FROM app_funnel WHERE time = %s"
_INSERT_FUNNEL = "INSERT INTO app_funnel (time, step, name, users) VALUES (%s, %s, %s, %s)"
_DELETE_SCREENS = "DELETE FROM app_screens WHERE time = %s"
_INSERT_SCREEN = "INSERT INTO app_screens (time, screen, views, users, p50_s, p95_s) VALUES (%s, %s, %s, %s, %s, %s)"
_NEWEST_RETENTION = "SELECT max(computed) FROM app_retention"
_DELETE_RETENTION = "DELETE FROM app_retention WHERE time >= %s"
_INSERT_RETENTION = "INSERT INTO app_retention (time, weeks, users, computed) VALUES (%s, %s, %s, %s)"
_FORGET = "DELETE FROM app_outcomes WHERE user_id = %s"


def update_usage(database: Database, documents: Documents, now: datetime, reader: MarkReader | None = None) -> int:
    """Update the tables from the events since the last run; return the number of rows written.

    Users whom ``reader`` finds marked have no rows. Raises :class:`DocumentsUnavailable`; the next run continues from
    the same watermark.
    """
    since, reader = _read_watermark(database, now) - OVERLAP, reader or MarkReader()
    written = sum(_write_outcomes(database, chunk, reader) for chunk in _chunks(read_outcomes(documents, since, now)))
    _join_lists(database, now)
    days = find_days(documents, since, now)
    written += sum(_write_day(database, documents, day) for day in days)
    if days and _is_retention_due(database, now):
        written += _write_retention(database, documents, now)
    written += _forget_withdrawn(database, documents, reader.read(database))
    update_outcome_hours(database)
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_ADVANCE, (_NAME, now))
    return written


def _read_watermark(database: Database, now: datetime) -> datetime:
    rows = database.read(_WATERMARK, (_NAME,), deadline_ms=DEADLINE_MS)
    received: datetime = rows[0][0] if rows else now - FIRST_READ
    # A clock that was ahead wrote a watermark from the future: what it has read is unknown.
    return received if received <= now + OVERLAP else now - FIRST_READ


def _chunks(outcomes: Iterator[ListOutcome]) -> Iterator[list[ListOutcome]]:
    while chunk := list(islice(outcomes, CHUNK)):
        yield chunk


def _write_outcomes(database: Database, outcomes: Sequence[ListOutcome], reader: MarkReader) -> int:
    # The upsert takes a key once: a recommendation that two users report is written for the first of them.
    by_key = {(o.recommendation_id, o.movie_id): o for o in reversed(outcomes)}
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        marks = reader.load(cursor)
        rows = [
            (id, movie, marks.stored_id(o.user_id), o.position, o.seen, o.opened, o.played, o.finished, o.at)
            for (id, movie), o in sorted(by_key.items())
            if not marks.holds(o.user_id)
        ]
        if not rows:
            return 0
        cursor.execute(_OUTCOME, [list(column) for column in zip(*rows, strict=True)])
        return int(cursor.rowcount)


def _join_lists(database: Database, now: datetime) -> None:
    """Write arm, version, position and propensity of the outcomes whose impression has arrived since the last run."""
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_JOIN_LISTS, (now - LATE_LISTS,))


def _write_day(database: Database, documents: Documents, day: datetime) -> int:
    report = report_day(documents, day)
    if report is None:
        return 0
    funnel, screens = report_funnel(documents, day, day + _DAY), report_screens(documents, day, day + _DAY)
    numbers = (report.events, report.lost, report.users, report.sessions, report.failed_sessions)
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_INSERT_DAY, (day, *numbers))
        cursor.execute(_DELETE_FUNNEL, (day,))
        steps = [(day, number, step.name, step.users) for number, step in enumerate(funnel, 1)]
        cursor.executemany(_INSERT_FUNNEL, steps)
        cursor.execute(_DELETE_SCREENS, (day,))
        cursor.executemany(_INSERT_SCREEN, [(day, s.screen, s.views, s.users, s.p50_s, s.p95_s) for s in screens])
    return 1 + len(funnel) + len(screens)


def _is_retention_due(database: Database, now: datetime) -> bool:
    newest = database.read(_NEWEST_RETENTION, deadline_ms=DEADLINE_MS)[0][0]
    return newest is None or not timedelta() <= now - newest < RETENTION_INTERVAL


def _write_retention(database: Database, documents: Documents, now: datetime) -> int:
    since = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - COHORTS
    since -= timedelta(days=since.weekday())
    cohorts = report_retention(documents, since, now)
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_DELETE_RETENTION, (since,))
        cursor.executemany(_INSERT_RETENTION, [(c.cohort, c.weeks, c.users, now) for c in cohorts])
    return len(cohorts)


def _forget_withdrawn(database: Database, documents: Documents, marks: MarkSet) -> int:
    """Delete the outcomes of users who withdrew their consent or deleted their data; return the number of rows."""
    with documents.collection("withdrawals") as withdrawals:
        withdrawn = list(withdrawals.find())
    deleted = 0
    for row in withdrawn:
        with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
            cursor.execute(_FORGET, (marks.stored_id(row["_id"]),))
            deleted += int(cursor.rowcount)
        with documents.collection("withdrawals") as withdrawals:
            withdrawals.delete_one(row)
    return deleted
