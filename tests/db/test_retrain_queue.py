"""A retraining is asked for once, answered once, and not forgotten when the run that answers is killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from marquee.db import retrain_queue, retrain_runs
from marquee.db.pool import Database
from marquee.db.retrain_queue import LEASE, REQUEST_INTERVAL, claim, pending, request_retrain

pytestmark = pytest.mark.servers
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DRIFT, AGE = "drift.rating_psi", "model.age_h"


def ended(database: Database, run: str, outcome: str) -> None:
    retrain_runs.record_run(database, retrain_runs.RetrainRun(run, NOW, NOW, None, None, outcome, ""))


def test_one_request_is_open_at_a_time(database: Database) -> None:
    assert request_retrain(database, DRIFT, "v1", "drift", NOW)
    assert not request_retrain(database, DRIFT, "v1", "drift again", NOW + timedelta(minutes=5))
    assert not request_retrain(database, AGE, "v1", "age", NOW + timedelta(minutes=5))
    assert pending(database, NOW) == ["drift"]


def test_what_was_answered_is_asked_again_after_a_day_or_of_another_model(database: Database) -> None:
    """A refused model leaves the old one serving, and the drift as it is."""
    request_retrain(database, DRIFT, "v1", "drift", NOW)
    assert claim(database, "run", NOW) == ["drift"]
    ended(database, "run", "refused")
    soon, later = NOW + timedelta(hours=3), NOW + REQUEST_INTERVAL + timedelta(minutes=1)
    assert not request_retrain(database, DRIFT, "v1", "drift", soon)
    assert request_retrain(database, DRIFT, "v2", "drift of the next", soon)
    claim(database, "run 2", soon)
    ended(database, "run 2", "released")
    assert request_retrain(database, DRIFT, "v1", "drift", later)


def test_it_is_taken_once(database: Database) -> None:
    request_retrain(database, DRIFT, "v1", "drift", NOW)
    assert claim(database, "a", NOW) == ["drift"]
    assert claim(database, "b", NOW) == []
    assert pending(database, NOW) == []


@pytest.mark.parametrize(
    ("outcome", "again"), [(None, True), ("failed", True), ("refused", False), ("released", False)]
)
def test_a_run_that_was_killed_or_failed_has_not_answered(
    database: Database, outcome: str | None, again: bool
) -> None:
    request_retrain(database, DRIFT, "v1", "drift", NOW)
    claim(database, "a", NOW)
    if outcome:
        ended(database, "a", outcome)
    assert pending(database, NOW + LEASE - timedelta(seconds=1)) == []
    after = NOW + LEASE
    assert bool(pending(database, after)) is again
    assert bool(claim(database, "b", after)) is again
    assert retrain_queue.pending(database, after) == []
