"""Tests of the controller on a real database and a real object store: one step at most, whatever is killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.monitoring.experiment_stream import (
    ExperimentStream,
    backdate,
    begin_canary,
    declare,
    list_users,
    make_controller,
    read_timeline,
    start_canary,
)
from tests.serving.models import store_model, two_group_model
from tests.support.dying_store import DyingStore
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.errors import ObjectStoreUnavailable
from marquee.monitoring.controller import act
from marquee.registry import rollout
from marquee.registry.experiment_steps import hold_experiment, replace_versions
from marquee.registry.gate_report import load_reports
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import iter_releases, read_current_release

pytestmark = pytest.mark.servers
HOUR = timedelta(hours=1)
DECISIONS = "SELECT action, alert, share, reason FROM experiment_decisions ORDER BY time"


def test_run_model_that_predicts_badly_is_rolled_back_once(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """Sixty ratings are enough: control serves alone, the release has the evidence, and the version is marked."""
    release, now = begin_canary(experiment_stream, store, mean=1.5)
    make_controller(store).run(database, store, now)
    back = read_current_release(store)[0]
    assert [arm.version for arm in back.arms] == [release.arms[0].version]
    assert (back.author, back.restores, back.paused) == ("monitor", 1, False)
    assert "canary harms" in back.reason
    assert "rates harm" in back.evidence
    assert [report.outcome for report in load_reports(store, release.arms[1].version)] == ["refused"]
    ((action, alert, share, _),) = rows(database, DECISIONS)
    assert (action, alert, share) == ("back", "harmed", 0)
    assert make_controller(store).run(database, store, now + HOUR) == 0
    assert read_current_release(store)[0] == back


def test_run_model_as_good_steps_and_is_promoted(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """The share grows by the ladder, a step at a run, and no user changes arms; a rollback returns to the old model."""
    start, now = begin_canary(experiment_stream, store)
    arms_before = {user: start.assign(user).name for user in map(str, range(2_000, 2_400))}
    shares = []
    for minute in range(4):
        make_controller(store).run(database, store, now + timedelta(minutes=minute))
        current = read_current_release(store)[0]
        shares.append(current.enrolled / 2 if current.experiment else 1.0)
        arms = {user: current.assign(user).name for user in arms_before}
        if current.experiment:
            assert all(arms_before[user] in ("outside", arm) for user, arm in arms.items())
            arms_before = arms
    assert shares == [0.2, 0.5, 1.0, 1.0]
    assert [arm.version for arm in read_current_release(store)[0].arms] == [start.arms[1].version]
    assert [arm.version for arm in rollout.rollback(store, author="t").arms] == [start.arms[0].version]


def test_run_twice_at_once_takes_one_step(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """Two runs decide on the same release; the second finds another one and does nothing."""
    _, now = begin_canary(experiment_stream, store)
    first, second = make_controller(store), make_controller(store)
    assessed, _ = second.assess(database, store, now)
    assert assessed
    assert assessed.decision.action == "step"
    first.run(database, store, now)
    assert act(lambda: store, assessed, now) is None
    assert [release.enrolled for release in iter_releases(store)] == [0.4, 0.04, 1.0]


@pytest.mark.parametrize("mean", [1.5, 3.01])
def test_run_killed_at_any_write_takes_one_step(
    database: Database, experiment_stream: ExperimentStream, store: FileStore, mean: float
) -> None:
    """Killed before the first write of a rollback or a step, between any two, or after the last: the next run is as
    if nothing had happened, and there is exactly one step."""
    start, now = begin_canary(experiment_stream, store, declare(dwell_min=5), mean=mean)
    for writes in range(4):
        dying = DyingStore(store, max_writes=writes)
        try:
            make_controller(store, dying).run(database, store, now + timedelta(seconds=writes))
        except ObjectStoreUnavailable:
            assert len(dying.names) == writes
    (step,) = [release for release in iter_releases(store) if release.number > start.number]
    assert read_current_release(store)[0] == step
    assert (step.author, step.arms[0].version) == ("monitor", start.arms[0].version)
    assert (len(step.arms), step.enrolled) == ((1, 1.0) if mean == 1.5 else (2, 0.4))


def test_run_after_another_publisher_leaves_its_release(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """A person's promotion between look and write wins."""
    start, now = begin_canary(experiment_stream, store, mean=1.5)
    controller = make_controller(store)
    assessed, _ = controller.assess(database, store, now)
    assert assessed
    promoted = rollout.promote(store, start.arms[1].version, author="ann")
    assert act(lambda: store, assessed, now) is None
    assert read_current_release(store)[0] == promoted


def test_run_on_hold_takes_no_step(database: Database, experiment_stream: ExperimentStream, store: FileStore) -> None:
    """A person keeps even a harmful arm; the alert tells of it."""
    start_canary(store, declare(), age=HOUR, mean=1.5)
    held = hold_experiment(store, read_timeline(store).name, on_hold=True, author="ann")
    now = datetime.now(UTC)
    experiment_stream.rate_much(now)
    make_controller(store).run(database, store, now)
    assert read_current_release(store)[0] == held
    ((action, alert, _, reason),) = rows(database, DECISIONS)
    assert (action, alert) == ("none", "harmed")
    assert "held by a person" in reason


def test_run_blind_holds_and_goes_back_after_six_hours(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """A silent stream is neither harm nor proof: no step, no promotion, and after six hours control serves."""
    start, now = begin_canary(experiment_stream, store, declare(ends={"after_h": 48, "undecided": "promote"}))
    controller = make_controller(store)
    controller.run(database, store, now + timedelta(minutes=40))
    assert read_current_release(store)[0] == start
    controller.run(database, store, now + timedelta(hours=5))
    assert read_current_release(store)[0] == start
    controller.run(database, store, now + timedelta(hours=7))
    assert [arm.version for arm in read_current_release(store)[0].arms] == [start.arms[0].version]
    assert [(action, alert) for action, alert, *_ in rows(database, DECISIONS)] == [
        ("hold", "blind"),
        ("hold", "blind"),
        ("back", "blind"),
    ]
    assert load_reports(store, start.arms[1].version) == []


def test_run_lost_arm_is_an_invalid_split(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """Users who were served by another arm than theirs: no metric is believed, and the share stays."""
    start = start_canary(store, declare(), age=HOUR)
    now = datetime.now(UTC)
    for user in list_users(start, "canary", 3):
        experiment_stream.ask(now - timedelta(minutes=3), user)
        experiment_stream.show(now - timedelta(minutes=3), user, "control", start.number)
    experiment_stream.rate_much(now)
    make_controller(store).run(database, store, now)
    assert read_current_release(store)[0] == start
    assert [(action, alert) for action, alert, *_ in rows(database, DECISIONS)] == [("hold", "invalid")]


def test_run_experiment_of_a_person_is_left_alone(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """A canary by weight has no declaration, so nothing is decided about it."""
    start = start_canary(store, declare(), age=HOUR)
    rollout.rollback(store, author="t")
    by_hand = rollout.canary(store, start.arms[1].version, weight=0.1, author="t")
    experiment_stream.rate_much(datetime.now(UTC))
    assert make_controller(store).run(database, store, datetime.now(UTC)) == 0
    assert read_current_release(store)[0] == by_hand


def test_run_versions_replaced_by_a_retraining_keep_arms_and_sums(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """Each rating is compared by the models that served then; the sums of an arm go on, and the dwell time, too."""
    start_canary(store, declare(dwell_min=600), age=HOUR)
    now, before = datetime.now(UTC), read_timeline(store)
    for number in range(4):
        experiment_stream.rate(now - timedelta(minutes=40), str(60_000 + number), number, 4)
    make_controller(store).assess(database, store, now)
    new = {
        arm: store_model(store, two_group_model(mean=mean), now - timedelta(minutes=35))
        for arm, mean in (("control", 2.0), ("canary", 2.5))
    }
    replace_versions(store, before.release, new, author="retrain", reason="nightly")
    backdate(store, now - timedelta(minutes=30))
    experiment_stream.rate(now - timedelta(minutes=38), "60008", 0, 4)  # Late, of the earlier models.
    for number in range(4, 8):
        experiment_stream.rate(now - timedelta(minutes=20), str(60_000 + number), number, 4)
    experiment_stream.ask(now - timedelta(seconds=20), "60000")
    assessed, _ = make_controller(store).assess(database, store, now)
    assert assessed
    assert assessed.look.sums["rates"]["canary"][0] == 9
    assert assessed.timeline.describe_state().since == before.describe_state().since
    losses = rows(database, "SELECT old, new FROM experiment_pairs ORDER BY user_id")
    assert [(round(old, 2), round(new, 2)) for old, new in losses] == [(1, 0.98)] * 4 + [(4, 2.25)] * 4 + [(1, 0.98)]


def test_run_ratings_shortly_before_the_start_count_and_older_ones_do_not(
    database: Database, experiment_stream: ExperimentStream, store: FileStore
) -> None:
    """Both models were trained before them, so that a bad model shows in the first minutes."""
    age = timedelta(minutes=5)
    start_canary(store, declare(), age=age, mean=4.8)
    now = datetime.now(UTC)
    for number, before in enumerate((timedelta(minutes=50), timedelta(minutes=10), timedelta(hours=2))):
        experiment_stream.rate(now - age - before, str(7_000 + number), 0, 3)
    experiment_stream.rate(now - timedelta(minutes=1), "7009", 0, 3)
    experiment_stream.ask(now - timedelta(seconds=20), "7009")
    make_controller(store).run(database, store, now)
    pairs = rows(database, "SELECT user_id FROM experiment_pairs WHERE old IS NOT NULL ORDER BY user_id")
    assert [user for (user,) in pairs] == ["7000", "7001", "7009"]
