"""The record of each run of ``retrain``, and the terms after which raw rows go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.support.records import batch, rate, rows, watch

from marquee.db import retrain_runs
from marquee.db.pool import Database
from marquee.db.retrain_runs import RetrainRun
from marquee.events.parser import EventParser
from marquee.ingest import retention_terms
from marquee.ingest.store import write_batch

START = datetime(2026, 2, 14, tzinfo=UTC)
RUN = RetrainRun("r1", START, START + timedelta(minutes=2), START, "v1", "released", "better", {"rmse": 0.93})


def test_runs_come_back_newest_first(database: Database) -> None:
    refused = RetrainRun(
        "r2", START + timedelta(hours=1), START + timedelta(hours=2), None, None, "failed", "no data"
    )
    retrain_runs.record_run(database, RUN)
    retrain_runs.record_run(database, refused)
    assert retrain_runs.latest_runs(database) == [refused, RUN]
    assert retrain_runs.latest_runs(database, 1) == [refused]


def test_the_same_run_again_replaces_its_record(database: Database) -> None:
    retrain_runs.record_run(database, RUN)
    retrain_runs.record_run(database, replace(RUN, outcome="refused", reason="worse"))
    assert [(run.outcome, run.reason) for run in retrain_runs.latest_runs(database)] == [("refused", "worse")]


def test_forgetting_keeps_what_lasts(plain_database: Database, parser: EventParser) -> None:
    """Raw watch rows of last month go; what was folded from them, and every rating, stays."""
    now = datetime.now(UTC)
    old, new = (f"{now - timedelta(days=days):%Y-%m-%dT%H:%M}" for days in (30, 1))
    lines = [watch(1, 5, time=old), watch(2, 5, time=new), rate(1, 3, time=old)]
    write_batch(plain_database, batch(lines), parser)
    retention_terms.delete_expired_rows(plain_database)
    assert rows(plain_database, "SELECT user_id FROM watches") == [("2",)]
    assert rows(plain_database, "SELECT count(*) FROM watch_sessions") == [(2,)]
    assert rows(plain_database, "SELECT count(*) FROM ratings") == [(1,)]


def test_what_is_past_its_term_goes(database: Database) -> None:
    """A table's term is a row of ``retention_terms``, wherever TimescaleDB has no policy of its own."""
    for age in ("29 days", "31 days"):
        with database.transaction() as cursor:
            query = "INSERT INTO monitor_runs (time, task, rows, seconds) VALUES (now() - %s::interval, 'x', 0, 0)"
            cursor.execute(query, (age,))
    retention_terms.delete_expired_rows(database)
    assert rows(database, "SELECT extract(day FROM now() - time)::int FROM monitor_runs") == [(29,)]


def test_forgetting_is_no_error_anywhere(database: Database) -> None:
    retention_terms.delete_expired_rows(database)
