"""A retrained model is released as a canary, unless there is a reason to release it at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.monitoring.experiment_stream import ExperimentStream, declare, make_controller
from tests.training.runs import retrain_until

from marquee.db.pool import Database
from marquee.experiments.declaration import Declaration, parse_declaration
from marquee.experiments.lifecycle import read_declaration
from marquee.registry.gate_report import EXPERIMENT_RUN, REFUSED, GateReport, store_report
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import read_current_release
from marquee.registry.rollout import rollback

pytestmark = pytest.mark.servers
CANARY = parse_declaration("canary", {"kind": "canary"})


def test_retrain_with_a_database_releases_by_canary(store: ObjectStore, block_base: Path, database: Database) -> None:
    """The first model serves all users at once, the second 2 % of them; a third is held while the canary runs."""
    first = retrain_until(store, block_base, 800, database=database, canary=CANARY)
    assert len(read_current_release(store)[0].arms) == 1
    second = retrain_until(store, block_base, 900, database=database, canary=CANARY)
    release = read_current_release(store)[0]
    assert (second.outcome, first.outcome) == ("released", "released")
    assert "for 0.02 of the users" in second.reason
    assert [arm.version for arm in release.arms] == [first.version, second.version]
    assert (release.enrolled, release.author) == (0.04, "retrain")
    declaration = read_declaration(store, release.experiment)
    assert isinstance(declaration, Declaration)
    assert declaration.arms == {"control": first.version, "canary": second.version}
    assert retrain_until(store, block_base, 1000, database=database, canary=CANARY).outcome == "held"
    assert [arm.version for arm in rollback(store, author="t").arms] == [first.version]


def test_retrain_good_canary_is_promoted_by_the_monitor_and_the_next_follows(
    store: ObjectStore, block_base: Path, database: Database
) -> None:
    """The ratings of all users promote it in steps; a retraining meanwhile is held, and one after it is a canary."""
    canary = declare()
    retrain_until(store, block_base, 800, database=database, canary=canary)
    second = retrain_until(store, block_base, 900, database=database, canary=canary)
    stream, now = ExperimentStream(database), datetime.now(UTC)
    for number in range(60):
        stream.rate(now - timedelta(minutes=10 + number % 30), f"new-{number}", f"b0+{number % 20:04}", 3 + number % 2)
    stream.ask(now + timedelta(seconds=20), "new-0")
    shares = []
    for minute in range(1, 4):
        if minute == 2:
            assert retrain_until(store, block_base, 1000, database=database, canary=canary).outcome == "held"
        make_controller(store).run(database, store, now + timedelta(minutes=minute))
        shares.append(read_current_release(store)[0].enrolled)
    promoted = read_current_release(store)[0]
    assert shares == [0.4, 1.0, 1.0]
    assert ([arm.version for arm in promoted.arms], promoted.author) == ([second.version], "monitor")
    assert "every guardrail excludes its margin" in promoted.evidence
    third = retrain_until(store, block_base, 1000, database=database, canary=canary)
    assert third.outcome == "released"
    assert [arm.version for arm in read_current_release(store)[0].arms] == [second.version, third.version]


def test_retrain_without_database_or_canary_releases_to_all(
    store: ObjectStore, block_base: Path, database: Database
) -> None:
    """Nothing would steer a canary without rows; ``--now`` and the policy ``direct`` pass no declaration."""
    retrain_until(store, block_base, 800)
    second = retrain_until(store, block_base, 900, canary=CANARY)
    third = retrain_until(store, block_base, 1000, database=database)
    assert (second.outcome, third.outcome) == ("released", "released")
    assert [arm.version for arm in read_current_release(store)[0].arms] == [third.version]


def test_retrain_harmful_version_is_refused(store: ObjectStore, block_base: Path) -> None:
    """A version that an experiment rolled back is not released again, however often it is trained."""
    retrain_until(store, block_base, 800)
    trained = retrain_until(store, block_base, 900, releasing=False)
    assert trained.version
    assert trained.trained_through
    reason = "experiment canary-x: canary harms"
    store_report(
        store,
        GateReport(
            version=trained.version,
            run=f"{EXPERIMENT_RUN}canary-x",
            time=trained.trained_through,
            outcome=REFUSED,
            reason=reason,
        ),
    )
    again = retrain_until(store, block_base, 900)
    assert again.version == trained.version
    assert (again.outcome, again.reason) == ("refused", reason)
