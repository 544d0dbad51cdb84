"""Tests of the records of retraining runs, and of retention."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.support.records import batch, rate, rows, watch

from marquee.db import record_counts, retrain_runs
from marquee.db.pool import Database
from marquee.db.retrain_runs import RetrainRun
from marquee.events.parser import EventParser
from marquee.ingest import retention_terms
from marquee.ingest.store import write_batch

START = datetime(2026, 2, 14, tzinfo=UTC)
RUN = RetrainRun("r1", START, START + timedelta(minutes=2), START, "v1", "released", "better", {"rmse": 0.93})


def test_latest_runs_returns_newest_first(database: Database) -> None:
    """The limit counts from the newest run."""
    refused = RetrainRun("r2", START + timedelta(hours=1), START + timedelta(hours=2), None, None, "failed", "no data")
    retrain_runs.record_run(database, RUN)
    retrain_runs.record_run(database, refused)
    assert retrain_runs.latest_runs(database) == [refused, RUN]
    assert retrain_runs.latest_runs(database, 1) == [refused]


def test_record_run_twice_replaces_record(database: Database) -> None:
    """A run has one record."""
    retrain_runs.record_run(database, RUN)
    retrain_runs.record_run(database, replace(RUN, outcome="refused", reason="worse"))
    assert [(run.outcome, run.reason) for run in retrain_runs.latest_runs(database)] == [("refused", "worse")]


def test_delete_expired_rows_keeps_aggregates_and_ratings(plain_database: Database, parser: EventParser) -> None:
    """Expired watches are deleted; watch sessions and ratings stay."""
    now = datetime.now(UTC)
    old, new = (f"{now - timedelta(days=days):%Y-%m-%dT%H:%M}" for days in (30, 1))
    records = [watch(1, 5, time=old), watch(2, 5, time=new), rate(1, 3, time=old)]
    write_batch(plain_database, batch(records), parser)
    retention_terms.delete_expired_rows(plain_database)
    assert rows(plain_database, "SELECT user_id FROM watches") == [("2",)]
    assert rows(plain_database, "SELECT count(*) FROM watch_sessions") == [(2,)]
    assert rows(plain_database, "SELECT count(*) FROM ratings") == [(1,)]


def test_delete_expired_rows_applies_retention_terms(database: Database) -> None:
    """A table without a TimescaleDB policy has its term in ``retention_terms``."""
    for age in ("29 days", "31 days"):
        with database.transaction() as cursor:
            query = "INSERT INTO monitor_runs (time, task, rows, seconds) VALUES (now() - %s::interval, 'x', 0, 0)"
            cursor.execute(query, (age,))
    retention_terms.delete_expired_rows(database)
    assert rows(database, "SELECT extract(day FROM now() - time)::int FROM monitor_runs") == [(29,)]


def test_delete_expired_rows_keeps_rows_within_terms(database: Database, parser: EventParser) -> None:
    """On both kinds of database, rows within their terms are kept, and a repeated call deletes nothing."""
    time = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M}"
    records = [watch(1, 5, time=time), rate(1, 3, time=time), "malformed"]
    write_batch(database, batch(records), parser)
    before = record_counts.count_records(database)
    for _ in range(2):
        retention_terms.delete_expired_rows(database)
    assert record_counts.count_records(database) == before
    assert before.records == len(records)
