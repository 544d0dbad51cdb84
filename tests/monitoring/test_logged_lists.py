"""Tests of off-policy estimates from stored lists, against outcomes whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests.serving.models import catalog_model, release_model, store_model
from tests.support.commands import Call, call_on

from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch
from marquee.ingest.store import write_impressions
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.trained_model import TrainedModel
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.exploration import Exploration
from marquee.serving.fixed_release import load_recommender
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache

pytestmark = pytest.mark.servers
USERS, LENGTH = 1500, 20
EXAMINED = 1 / np.arange(1, LENGTH + 1)
START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)


class Log(NamedTuple):
    """Versions: the one that served, a retrained one, one of other tastes; and the movies begun by the second."""

    served: str
    retrained: str
    foreign: str
    truth: float


def _model(seed: int = 1) -> TrainedModel:
    """Return a model in which one movie in four is new, so that some of the candidates of the random slot are."""
    model = catalog_model(n_users=USERS, seed=seed)
    model.popularity[::4] = 0
    return model


def _retrained(model: TrainedModel) -> TrainedModel:
    noise = np.random.default_rng(5).normal(0, 0.05, model.rank_items.shape).astype(np.float32)
    return replace(model, rank_items=model.rank_items * (1 + noise))


@pytest.fixture(scope="module")
def suits() -> dict[str, float]:
    """Return the probability that a user who examines a movie begins it."""
    model = _model()
    chances = np.random.default_rng(3).uniform(0.05, 0.6, len(model.movie_ids))
    return dict(zip(model.movie_ids, chances.tolist(), strict=True))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def log(store: FileStore, postgres_database: Database, suits: dict[str, float]) -> Log:
    """Store lists with exploration, and the movies that users who look at positions as 1 / k began."""
    served = release_model(store, _model())
    retrained, foreign = store_model(store, _retrained(_model())), store_model(store, _model(seed=9))
    recommender = Recommender(
        ReleaseCache(store, refresh_s=3_600, background=False),
        objects=DeadlineExecutor("object store", deadline_ms=10_000),
        logs_reasons=True,
        exploration=Exploration(0.02, 1, 40, 4),
    )
    shown = [
        recommender.answer(str(1000 + user), START).impression() for user in range(USERS)
    ]  # One list each, because the table holds at most one session of a user and a movie.
    again = [recommender.answer("1000", START + timedelta(minutes=5)).impression()]  # Not a list of its own.
    write_impressions(postgres_database, ImpressionBatch("a", tuple(shown + again)))
    _begin(postgres_database, shown, suits)
    release_model(store, _retrained(_model()))
    other = load_recommender(store.root.as_uri())
    lists = [other.answer(str(1000 + user), START).movies for user in range(USERS)]
    truth = np.mean([sum(suits[m.movie_id] * e for m, e in zip(one, EXAMINED, strict=True)) for one in lists])
    return Log(served, retrained, foreign, float(truth))


def _begin(database: Database, shown: list[Impression], suits: dict[str, float]) -> None:
    rng = np.random.default_rng(4)
    begun = {
        (impression.user_id, movie.movie_id): impression.time + timedelta(minutes=1)
        for impression in shown
        for movie, examined in zip(impression.movies, EXAMINED, strict=True)
        if rng.random() < suits[movie.movie_id] * examined
    }
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO watch_sessions (user_id, movie_id, started, ended, first_minute, last_minute) "
            "SELECT u, m, t, t, 0, 0 FROM unnest(%s::text[], %s::text[], %s::timestamptz[]) AS row (u, m, t)",
            ([user for user, _ in begun], [movie for _, movie in begun], list(begun.values())),
        )


@pytest.fixture
def call(
    store: FileStore, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Return a function that runs ``marquee experiment replay WORDS`` and returns its output."""
    return call_on(store, database_url, monkeypatch, capsys, "experiment", "replay")


def test_experiment_replay_estimates_what_the_simulated_users_do(call: Call, log: Log, tmp_path: Path) -> None:
    """The truth is in the interval, the served model gives the observed rate, and a foreign model is refused."""
    report = json.loads(call(log.retrained, "--json"))
    estimate = report["estimate"]
    assert report["left_out"] == {}
    assert (estimate["lists"], estimate["users"], report["consistent"]) == (USERS, USERS, True)
    assert estimate["support"] > 0.95
    assert estimate["low"] <= log.truth <= estimate["high"]
    assert estimate["balance"] == pytest.approx(1, abs=4 * estimate["balance_error"])
    same = json.loads(call(log.served, "--json"))
    assert same["estimate"] == same["check"]
    assert "no estimate: exploration shows" in call(log.foreign, code=4)
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"unavailable": [_model().movie_ids[0]]}))
    assert "the policy would have had" in call("--policy", str(policy))


def test_experiment_replay_wrong_ranks_are_refused(call: Call, log: Log, postgres_database: Database) -> None:
    """Lists whose ranks their model does not give are counted; above one in a hundred there is no estimate."""
    with postgres_database.transaction() as cursor:
        cursor.execute(
            "UPDATE impressions SET movies = jsonb_set(jsonb_set(movies, '{0,rank}', '2'), '{1,rank}', '1') "
            "WHERE user_id < '1050'"
        )
    assert "have other ranks than their model gives" in call(log.retrained, code=4)


def test_experiment_replay_without_lists_or_model_says_so(call: Call, store: FileStore) -> None:
    """An empty database, an unknown version, and a call without either."""
    version = store_model(store, _model())
    assert "no list of this time can be used" in call(version, code=4)
    assert "there is no artifact" in call("20000101T000000-00000000", code=1)
    assert "give a version" in call(code=1)


def test_experiment_replay_clicks_are_another_outcome(call: Call, log: Log, postgres_database: Database) -> None:
    """With ``--clicks``, only what apps report as clicked counts: here of every other user, the first movie."""
    refused = json.loads(call(log.served, "--clicks", "--json", code=4))
    assert "different outcomes" in refused["refusal"]
    with postgres_database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO clicks SELECT time + INTERVAL '1 minute', 1, 0, row_number() OVER (ORDER BY id), user_id, id, "
            "movies -> 0 ->> 'movie_id' FROM impressions WHERE user_id::integer % 2 = 0"
        )
    assert json.loads(call(log.served, "--clicks", "--json"))["estimate"]["observed"] == pytest.approx(0.5)
