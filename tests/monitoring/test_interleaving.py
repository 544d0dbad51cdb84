"""Tests of an interleaving from served lists to the decision, on a real database and a real object store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.monitoring.experiment_stream import (
    TIMEOUT_MS,
    ExperimentStream,
    backdate,
    make_controller,
    read_timeline,
)
from tests.serving.models import catalog_model, release_model, store_model
from tests.support.records import rows

from marquee.db.past_history import iter_last_impressions, user_history_until
from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch
from marquee.experiments.declaration import parse_declaration
from marquee.experiments.lifecycle import start
from marquee.ingest.store import write_impressions
from marquee.monitoring.experiment_plan import plan_experiment
from marquee.monitoring.exposures import ExposureRules, update_exposures
from marquee.monitoring.logged_lists import estimate_other
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import read_current_release
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.exploration import NO_EXPLORATION
from marquee.serving.list_replay import Replayer
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache

pytestmark = pytest.mark.servers
HOUR, WINDOW = timedelta(hours=1), timedelta(minutes=60)


@pytest.fixture
def recommender(store: FileStore) -> Recommender:
    """Start an interleaving six hours ago; return the recommender of its lists."""
    now = datetime.now(UTC)
    release_model(store, catalog_model(), now - timedelta(days=30))
    backdate(store, now - timedelta(days=29))
    new = store_model(store, catalog_model(seed=2), now - timedelta(days=20))
    primary = {"metric": "preferred", "effect": 0.3}
    fields = {"kind": "interleaving", "arms": {"control": "", "new": new}, "ladder": [0.5], "primary": primary}
    start(store, parse_declaration("draft", fields), author="test")
    backdate(store, now - 6 * HOUR)
    objects = DeadlineExecutor("object store", deadline_ms=10_000)
    return Recommender(ReleaseCache(store, 3_600, background=False), objects=objects, logs_reasons=True)


def _show(
    database: Database, stream: ExperimentStream, recommender: Recommender, time: datetime, *users: str
) -> list[Impression]:
    """Log the list and the request of each user, and return the impressions."""
    shown = [recommender.answer(user, time).impression() for user in users]
    write_impressions(database, ImpressionBatch(f"batch-{time.isoformat()}", tuple(shown)))
    for one in shown:
        items = tuple(int(movie.movie_id.split("+")[1]) for movie in one.movies)
        stream.ask(time, one.user_id, items)
    return shown


def _find_movies(shown: Impression, team: str) -> list[int]:
    assert shown.inputs
    return [
        int(movie.movie_id.split("+")[1]) for movie, own in zip(shown.movies, shown.inputs.teams, strict=True)
        if own == team
    ]  # fmt: skip


def test_interleaving_that_prefers_the_new_ranking_ends_with_control(
    database: Database, store: FileStore, recommender: Recommender
) -> None:
    """Users begin movies of the new team; the controller says so, and control serves everyone until an A/B test."""
    stream, now = ExperimentStream(database), datetime.now(UTC)
    control = read_current_release(store)[0].arms[0].version
    shown = _show(database, stream, recommender, now - 3 * HOUR, *(f"user{n}" for n in range(120)))
    for number, one in enumerate(shown):
        team = "1" if number % 4 else "0"
        stream.watch(one.time + timedelta(minutes=5), one.user_id, _find_movies(one, team)[0])
    stream.ask(now - timedelta(seconds=20), "user1")
    assessed, _ = make_controller(store).assess(database, store, now)
    assert assessed
    (arm,) = assessed.decision.arms
    assert arm.primary
    assert (arm.primary.users, arm.primary.estimate) == ((120, 120), 0.5)
    assert arm.primary.verdict == "better"
    make_controller(store).run(database, store, now)
    ended = read_current_release(store)[0]
    assert [one.version for one in ended.arms] == [control]
    assert "interleaving prefers new" in ended.reason
    assert "primary preferred 0.5" in ended.evidence


def test_update_exposures_credits_the_team_of_the_movie_once(
    database: Database, store: FileStore, recommender: Recommender
) -> None:
    """A movie that is begun or rated within the window counts for its team, once; later ones and other lists do not."""
    stream, time = ExperimentStream(database), datetime.now(UTC) - 3 * HOUR
    (shown,) = _show(database, stream, recommender, time, "ann")
    _show(database, stream, recommender, time + timedelta(minutes=10), "ann")  # The same visit.
    old, new = _find_movies(shown, "0"), _find_movies(shown, "1")
    stream.watch(time + timedelta(minutes=1), "ann", new[0])
    stream.rate(time + timedelta(minutes=50), "ann", new[0], 5)
    stream.rate(time + timedelta(minutes=5), "ann", new[1], 4)
    stream.watch(time + timedelta(minutes=30), "ann", old[0])
    stream.watch(time + timedelta(minutes=61), "ann", old[1])
    timeline, until = read_timeline(store), datetime.now(UTC)
    update_exposures(database, timeline, ExposureRules(WINDOW, TIMEOUT_MS), until, until)
    query = "SELECT drafted, begun_old, begun_new FROM experiment_hours WHERE drafted > 0"
    assert rows(database, query) == [(1, 1, 2)]


def test_interleaved_impressions_are_replayed_and_left_out_of_estimates(
    database: Database, store: FileStore, recommender: Recommender
) -> None:
    """Each stored list is made again with its teams; an off-policy estimate names why it uses none."""
    stream, time = ExperimentStream(database), datetime.now(UTC) - 3 * HOUR
    _show(database, stream, recommender, time, *(f"user{n}" for n in range(8)))
    replayer = Replayer(store, NO_EXPLORATION, lambda *window: user_history_until(database, *window))
    stored = list(iter_last_impressions(database, 20))
    assert len(stored) == 8
    assert [replayer.replay(one).difference for one in stored] == [""] * 8
    lists = [(one, frozenset[str]()) for one in stored]
    version = read_current_release(store)[0].arms[1].version
    report = estimate_other(replayer, lists, version=version, since=time, until=time + HOUR, window=WINDOW)  # type: ignore[arg-type]
    assert report.left_out == {"the list was interleaved": 8}
    assert "no list of this time can be used" in report.refusal


def test_plan_interleaving_needs_fewer_days_than_an_experiment(postgres_database: Database) -> None:
    """The plan takes from the past how many movies users begin; a smaller effect needs more days."""
    stream, now = ExperimentStream(postgres_database), datetime.now(UTC)
    for user in range(110):
        for visit in range(4):
            asked = now - timedelta(days=1.9 - 0.5 * visit, minutes=user)
            stream.ask(asked, str(user), (1, 2, 3, 4))
            if (user + visit) % 3:
                stream.watch(asked + timedelta(minutes=2, seconds=visit), str(user), 1 + visit)
    days = []
    for effect in (0.2, "5 %"):
        primary = {"metric": "preferred", "effect": effect}
        fields = {"kind": "interleaving", "arms": {"a": "", "b": "v"}, "primary": primary}
        plan = plan_experiment(postgres_database, parse_declaration("draft", fields), now, 2, TIMEOUT_MS)
        (planned,) = [metric for metric in plan.metrics if metric.role == "primary"]
        assert planned.value == pytest.approx(2 / 3, abs=0.05)
        assert planned.days
        days.append(planned.days)
    assert days[0] < days[1]
