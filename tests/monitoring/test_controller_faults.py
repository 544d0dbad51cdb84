"""Tests of the controller under faults: killed at random steps, two at once, jumping clocks, an absent database."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from tests.monitoring.experiment_stream import ExperimentStream, begin_canary, make_controller
from tests.support.dying_process import DyingProcess, Killed
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable
from marquee.registry import rollout
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import Release, iter_releases, read_current_release

pytestmark = pytest.mark.servers
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RAMP, BACK = [0.04, 0.4, 1.0, 1.0], [0.04, 1.0]
"""Enrolled shares from the start to the end: of a canary that is as good, and of one that harms."""


def list_steps(store: FileStore, start: Release) -> list[Release]:
    """Return the releases from ``start`` on, oldest first."""
    return [release for release in reversed(list(iter_releases(store))) if release.number >= start.number]


@pytest.mark.parametrize(("mean", "shares", "kills", "seed"), [(3.01, RAMP, 12, 1), (1.5, BACK, 8, 2)])
def test_run_killed_at_random_steps_takes_each_step_once(
    database: Database, experiment_stream: ExperimentStream, store: FileStore, mean: float, shares: list[float],
    kills: int, seed: int,
) -> None:  # fmt: skip
    """Twenty points between reads, writes and commits: the releases are those of undisturbed runs, each has its
    decision in the database, and the document that serves is the last one."""
    start, now = begin_canary(experiment_stream, store, mean=mean)
    whole = count_steps(database, store, now)
    rng, killed = random.Random(seed), 0
    while killed < kills or read_current_release(store)[0].experiment:
        # A run of an experiment that has ended has few steps; it is killed in these.
        process = DyingProcess(rng.randint(1, whole) if killed < kills else whole * 2)
        with suppress(Killed):
            run(process, database, store, now + killed * MINUTE)
        killed += 1
    steps = list_steps(store, start)
    assert [release.enrolled for release in steps] == shares
    assert read_current_release(store)[0] == steps[-1]
    assert len(steps[-1].arms) == 1
    decided = {evidence for (evidence,) in rows(database, "SELECT evidence FROM experiment_decisions")}
    assert all(release.evidence in decided for release in steps[1:])


def run(process: DyingProcess, database: Database, store: FileStore, now: datetime) -> None:
    objects = process.use_store(store)
    make_controller(objects, objects).run(process.use_database(database), objects, now)


def count_steps(database: Database, store: FileStore, now: datetime) -> int:
    """Return the number of steps of a run until the decision; it takes none."""
    process = DyingProcess()
    objects = process.use_store(store)
    make_controller(objects, objects).assess(process.use_database(database), objects, now)
    return process.steps + 10  # Those of the decision's rows and of the release.


def test_run_two_monitors_at_once_take_each_step_once(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """Without the lock of a run, as if one monitor had lost it: the ramp has each share once, and no run fails."""
    start, now = begin_canary(experiment_stream, store)
    other = Database(database.url, connections=2, readers=2)
    with ThreadPoolExecutor(2) as pool:
        for minute in range(4):
            at = now + minute * MINUTE
            futures = [pool.submit(make_controller(store).run, each, store, at) for each in (database, other)]
            for future in futures:
                future.result()
    other.close()
    assert [release.enrolled for release in list_steps(store, start)] == RAMP


def test_run_clock_that_jumps_back_waits_and_goes_on(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """Before the start of the experiment nothing is due; with the right time the ramp continues."""
    start, now = begin_canary(experiment_stream, store)
    controller = make_controller(store)
    for jump in (-3 * HOUR, -30 * timedelta(days=1)):
        controller.run(database, store, now + jump)
        assert read_current_release(store)[0] == start
    controller.run(database, store, now)
    assert read_current_release(store)[0].enrolled == 0.4


def test_run_clock_that_jumps_ahead_promotes_nothing(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """A day ahead the planned end is over, but the data are old: control serves, and the version is not marked."""
    start, now = begin_canary(experiment_stream, store)
    make_controller(store).run(database, store, now + timedelta(days=1))
    assert [arm.version for arm in read_current_release(store)[0].arms] == [start.arms[0].version]


def test_run_without_a_database_takes_no_step(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """A run of seven hours' outage fails as a transient error and writes no release; the next one goes on."""
    start, now = begin_canary(experiment_stream, store)
    away = Database("postgresql://none@127.0.0.1:1/none", connect_timeout_s=1)
    controller = make_controller(store)
    with pytest.raises(DatabaseUnavailable):
        controller.run(away, store, now)
    assert read_current_release(store)[0] == start
    controller.run(database, store, now)
    assert read_current_release(store)[0].enrolled == 0.4


@pytest.mark.parametrize(
    "by_hand",
    [
        lambda store, start: rollout.rollback(store, author="ann"),
        lambda store, start: rollout.promote(store, start.arms[1].version, author="ann"),
        lambda store, start: rollout.canary(store, start.arms[1].version, weight=0.1, author="ann"),
    ],
    ids=["rollback", "promote", "canary"],
)
def test_run_release_by_hand_between_reads_wins(
    database: Database,
    experiment_stream: ExperimentStream,
    store: FileStore,
    by_hand: Callable[[FileStore, Release], Release],
) -> None:
    """A person publishes while the monitor looks: its decision is void, and its next run starts from that release."""
    start, now = begin_canary(experiment_stream, store, mean=1.5)
    written: list[Release] = []

    class Meddling(DyingProcess):
        def step(self) -> None:
            super().step()
            if self.steps == 12 and not written:
                written.append(by_hand(store, start))

    run(Meddling(), database, store, now)
    assert read_current_release(store)[0] == written[0]
    make_controller(store).run(database, store, now + MINUTE)
    after = read_current_release(store)[0]
    # A canary that goes on with more users still harms; what a person promoted or rolled back stays.
    assert (after == written[0]) == (not written[0].experiment)
