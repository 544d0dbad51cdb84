"""Tests of the retraining queue: a request is made once, claimed once, and survives a killed run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from marquee.db import retrain_queue, retrain_runs
from marquee.db.pool import Database
from marquee.db.retrain_queue import LEASE, REQUEST_INTERVAL, claim, pending, request_retrain

pytestmark = pytest.mark.servers
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DRIFT, AGE = "drift.rating_psi", "model.age_h"


def record_end(database: Database, run: str, outcome: str) -> None:
    """Record the end of a run."""
    retrain_runs.record_run(database, retrain_runs.RetrainRun(run, NOW, NOW, None, None, outcome, ""))


def test_request_retrain_while_one_is_open_is_rejected(database: Database) -> None:
    """At most one request is open, whatever its check."""
    assert request_retrain(database, DRIFT, "v1", "drift", NOW)
    assert not request_retrain(database, DRIFT, "v1", "drift again", NOW + timedelta(minutes=5))
    assert not request_retrain(database, AGE, "v1", "age", NOW + timedelta(minutes=5))
    assert pending(database, NOW) == ["drift"]


def test_request_retrain_repeats_after_interval_or_for_another_model(database: Database) -> None:
    """A refused model leaves the old one serving, so the drift persists."""
    request_retrain(database, DRIFT, "v1", "drift", NOW)
    assert claim(database, "run", NOW) == ["drift"]
    record_end(database, "run", "refused")
    soon, later = NOW + timedelta(hours=3), NOW + REQUEST_INTERVAL + timedelta(minutes=1)
    assert not request_retrain(database, DRIFT, "v1", "drift", soon)
    assert request_retrain(database, DRIFT, "v2", "drift of the next", soon)
    claim(database, "run 2", soon)
    record_end(database, "run 2", "released")
    assert request_retrain(database, DRIFT, "v1", "drift", later)


def test_claim_twice_returns_nothing(database: Database) -> None:
    """The first run claims all open requests."""
    request_retrain(database, DRIFT, "v1", "drift", NOW)
    assert claim(database, "a", NOW) == ["drift"]
    assert claim(database, "b", NOW) == []
    assert pending(database, NOW) == []


@pytest.mark.parametrize(
    ("outcome", "reopened"), [(None, True), ("failed", True), ("refused", False), ("released", False)]
)
def test_claim_of_killed_or_failed_run_expires(database: Database, outcome: str | None, reopened: bool) -> None:
    """After the lease, the request is open again unless the run ended with a decision."""
    request_retrain(database, DRIFT, "v1", "drift", NOW)
    claim(database, "a", NOW)
    if outcome:
        record_end(database, "a", outcome)
    assert pending(database, NOW + LEASE - timedelta(seconds=1)) == []
    after = NOW + LEASE
    assert bool(pending(database, after)) is reopened
    assert bool(claim(database, "b", after)) is reopened
    assert retrain_queue.pending(database, after) == []
