"""Tests of ``marquee replay`` on a database and an object store."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.serving.models import catalog_model, make_movie_id, release_model, store_model
from tests.support.commands import Call, call_on

from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch
from marquee.ingest.store import write_impressions
from marquee.registry.object_store.file_store import FileStore
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.exploration import Exploration
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache

pytestmark = pytest.mark.servers
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def shown(store: FileStore, postgres_database: Database) -> list[Impression]:
    """Store the impressions of eight users' lists."""
    release_model(store, catalog_model())
    cache = ReleaseCache(store, refresh_s=3_600, background=False)
    executor = DeadlineExecutor("object store", deadline_ms=10_000)
    recommender = Recommender(cache, objects=executor, logs_reasons=True, exploration=Exploration(0.1, 3, 9))
    lists = [recommender.answer(str(1000 + user), NOW).impression() for user in range(8)]
    write_impressions(postgres_database, ImpressionBatch("a", tuple(lists)))
    return lists


@pytest.fixture
def call(
    store: FileStore, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Return a function that runs ``marquee replay WORDS`` and returns its output."""
    return call_on(store, database_url, monkeypatch, capsys, "replay")


def test_replay_command_shows_the_list_beside_another_model_and_policy(
    call: Call, store: FileStore, shown: list[Impression], tmp_path: Path
) -> None:
    """The text says that every byte is equal; JSON holds the three lists."""
    other = store_model(store, catalog_model(seed=2))
    hidden = tmp_path / "policy.json"
    hidden.write_text(json.dumps({"unavailable": [make_movie_id(3)]}))
    text = call(shown[0].id, "--model", other)
    assert "made again: equal, byte for byte" in text
    assert f"other: model {other}" in text
    document = json.loads(call(shown[0].id, "--policy", str(hidden), "--json"))
    ids = [movie.movie_id for movie in shown[0].movies]
    assert [movie["movie_id"] for movie in document["replay"]["movies"]] == ids
    assert make_movie_id(3) not in [movie["movie_id"] for movie in document["other"]["movies"]]


def test_replay_command_last_counts_equal_lists_and_names_others(
    call: Call, store: FileStore, shown: list[Impression], postgres_database: Database
) -> None:
    """All lists, then with one that nothing explains and one whose artifact is gone: exit code 3."""
    assert "8 of 8 lists are equal (personalised 8)" in call("--last", "100")
    wrong = msgspec.structs.replace(shown[0], id="0" * 32, movies=shown[0].movies[::-1])
    gone = msgspec.structs.replace(shown[0], id="1" * 32, release=7)
    write_impressions(postgres_database, ImpressionBatch("b", (wrong, gone)))
    report = json.loads(call("--last", "100", "--json", code=3))
    assert (report["lists"], report["equal"]) == (10, 8)
    assert report["differences"]["its release is gone or damaged"] == [gone.id]
    assert [ids for name, ids in report["differences"].items() if name.startswith("position 1")] == [[wrong.id]]


def test_replay_command_wrong_calls_say_what_to_do(call: Call, shown: list[Impression]) -> None:
    """No id, an unknown id, and an option that needs an id."""
    assert "give a recommendation id, or --last N" in call(code=1)
    assert "there is no impression of 'unknown'" in call("unknown", code=1)
    assert "need a recommendation id" in call("--last", "5", "--model", "v", code=1)
    assert "there is no artifact" in call(shown[0].id, "--model", "20000101T000000-00000000", code=1)
