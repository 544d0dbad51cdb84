"""Use of the app in the database: from the events in MongoDB, once, whatever is repeated."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.serving.models import two_group_model

from marquee.app.document_schema import prepare_documents
from marquee.app.documents import Document, Documents
from marquee.app.profiles import Profiles
from marquee.app.user_documents import forget_user
from marquee.db.pool import Database
from marquee.errors import DocumentsUnavailable
from marquee.local.embedded_mongo import EmbeddedMongo
from marquee.local.process import free_port
from marquee.monitoring.app_catalog import update_catalog
from marquee.monitoring.app_usage import update_usage
from marquee.registry.artifact import write_artifact
from marquee.registry.movie_metadata import MovieMetadata
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.rollout import promote

pytestmark = pytest.mark.servers
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)

_IMPRESSION = """
INSERT INTO impressions (time, id, user_id, arm, model_version, release, tier, movies)
VALUES (%s, %s, %s, 'control', 'v1', 3, 'popular', %s::jsonb)"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongo]:
    """Start a MongoDB for the tests of this file."""
    with EmbeddedMongo(tmp_path_factory.mktemp("mongo")) as mongo:
        yield mongo


@pytest.fixture
def documents(server: EmbeddedMongo) -> Iterator[Documents]:
    """Connect to a database with the app's collections, for one test."""
    connected = Documents(server.database_url(f"usage_{os.getpid()}_{uuid.uuid4().hex[:8]}"), deadline_ms=20_000)
    prepare_documents(connected, 90)
    yield connected
    connected.client.drop_database(connected.database.name)
    connected.close()


def write_event(documents: Documents, user_id: str, name: str, at: datetime = NOON, **values: Any) -> None:
    """Store an event of a session of its own."""
    event: Document = {"_id": str(uuid.uuid4()), "user_id": user_id, "session": f"s{user_id}", "seq": 1, "name": name}
    event |= {"at": at, "received": at, "screen": "home", "app": "browser"} | values
    with documents.collection("events") as events:
        events.insert_one(event)


def read(database: Database, query: str) -> list[tuple[Any, ...]]:
    return database.read(query, deadline_ms=10_000)


def test_usage_joins_outcomes_to_impressions_with_propensity(each_database: Database, documents: Documents) -> None:
    """A click is a row with arm, version, position and propensity of the movie that was shown."""
    recommendation = str(uuid.uuid4())
    shown = [("a+1999", 2, 0.9), ("b+1999", 1, 0.1)]
    movies = json.dumps([{"movie_id": movie, "score": score, "propensity": p} for movie, score, p in shown])
    with each_database.transaction() as cursor:
        cursor.execute(_IMPRESSION, (NOON - MINUTE, recommendation, "7", movies))
    where: dict[str, Any] = {"recommendation": recommendation, "movie": "b+1999", "position": 2}
    write_event(documents, "7", "movies_seen", **where)
    write_event(documents, "7", "movie_opened", **where)
    update_usage(each_database, documents, NOON + MINUTE)
    query = "SELECT arm, model_version, release, position, propensity, seen, opened, played FROM app_list_outcomes"
    assert read(each_database, query) == [("control", "v1", 3, 2, 0.1, True, True, False)]


def test_usage_impression_after_its_outcome_is_joined(postgres_database: Database, documents: Documents) -> None:
    """An outcome has its arm and propensity as soon as its impression is stored, and those of no other user's list."""
    recommendation, foreign = str(uuid.uuid4()), str(uuid.uuid4())
    for name in (recommendation, foreign):
        write_event(documents, "7", "movies_seen", recommendation=name, movie="a+1999", position=9)
    update_usage(postgres_database, documents, NOON + MINUTE)
    joined = "SELECT arm, model_version, list_position, propensity FROM app_outcomes WHERE recommendation_id = '{}'"
    assert read(postgres_database, joined.format(recommendation)) == [(None, None, None, None)]
    movies = '[{"movie_id": "b+1999"}, {"movie_id": "a+1999", "propensity": 0.25}]'
    with postgres_database.transaction() as cursor:
        cursor.execute(_IMPRESSION, (NOON, recommendation, "7", movies))
        cursor.execute(_IMPRESSION, (NOON, foreign, "8", movies))
    update_usage(postgres_database, documents, NOON + 6 * MINUTE)
    assert read(postgres_database, joined.format(recommendation)) == [("control", "v1", 2, 0.25)]
    assert read(postgres_database, joined.format(foreign)) == [(None, None, None, None)]


def test_usage_run_again_and_later_counts_once(postgres_database: Database, documents: Documents) -> None:
    """A repeated run changes nothing; a later event, or one that came late, completes the same row and day."""
    where: dict[str, Any] = {"recommendation": str(uuid.uuid4()), "movie": "a+1999", "position": 1}
    write_event(documents, "7", "movies_seen", **where)
    for _ in range(2):
        update_usage(postgres_database, documents, NOON + MINUTE)
    outcome = "SELECT seen, opened, played, position, at FROM app_outcomes"
    assert read(postgres_database, outcome) == [(True, False, False, 1, NOON)]
    # Received after the watermark, but of the day before: an event that waited without a network.
    late = NOON + 30 * MINUTE
    write_event(documents, "7", "play_started", NOON - DAY, **where, received=late, seq=2)
    update_usage(postgres_database, documents, late + MINUTE)
    assert read(postgres_database, outcome) == [(True, False, True, 1, NOON - DAY)]
    midnight = NOON.replace(hour=0)
    assert read(postgres_database, "SELECT time, events, lost FROM app_days ORDER BY time") == [
        (midnight - DAY, 1, 0),
        (midnight, 1, 0),
    ]


def test_usage_after_a_run_of_a_clock_ahead_loses_no_event(postgres_database: Database, documents: Documents) -> None:
    """A run a year ahead leaves out neither what arrives until then, nor the retention."""
    where: dict[str, Any] = {"recommendation": str(uuid.uuid4()), "movie": "a+1999", "position": 1}
    write_event(documents, "7", "movies_seen", **where)
    update_usage(postgres_database, documents, NOON + 365 * DAY)
    write_event(documents, "7", "movie_opened", NOON - 60 * MINUTE, **where, seq=2)
    update_usage(postgres_database, documents, NOON + MINUTE)
    assert read(postgres_database, "SELECT seen, opened FROM app_outcomes") == [(True, True)]
    watermark = "SELECT received FROM app_progress WHERE name = 'events'"
    assert read(postgres_database, watermark) == [(NOON + MINUTE,)]


def test_usage_hides_groups_of_fewer_than_five(postgres_database: Database, documents: Documents) -> None:
    """Four users leave no number of users anywhere; five do."""
    query = """SELECT (SELECT count(*) FROM app_funnel), (SELECT count(*) FROM app_retention),
                      (SELECT count(users) FROM app_days), (SELECT sum(events) FROM app_days)"""
    for user in range(4):
        write_event(documents, str(user), "movies_seen")
    update_usage(postgres_database, documents, NOON + MINUTE)
    assert read(postgres_database, query) == [(0, 0, 0, 4)]
    write_event(documents, "4", "movies_seen")
    update_usage(postgres_database, documents, NOON + 2 * MINUTE)
    assert read(postgres_database, query) == [(1, 1, 1, 5)]
    assert read(postgres_database, "SELECT users, sessions, failed_sessions FROM app_days") == [(5, 5, 0)]


@pytest.mark.parametrize("how", ["consent", "forget"])
def test_usage_withdrawn_leaves_no_outcome(postgres_database: Database, documents: Documents, how: str) -> None:
    """Consent withdrawn, or all data deleted: the user's outcomes go with the next run, those of others stay."""
    for user in ("1", "2"):
        write_event(documents, user, "movies_seen", recommendation=str(uuid.uuid4()), movie="a+1999", position=1)
    update_usage(postgres_database, documents, NOON + MINUTE)
    if how == "consent":
        Profiles(documents).set_consent("1", False, NOON)
    else:
        forget_user(documents, "1", NOON)
    update_usage(postgres_database, documents, NOON + 2 * MINUTE)
    assert read(postgres_database, "SELECT user_id FROM app_outcomes") == [("2",)]
    with documents.collection("withdrawals") as withdrawals:
        assert withdrawals.count_documents({}) == 0


def test_usage_of_a_foreign_recommendation_changes_nothing(postgres_database: Database, documents: Documents) -> None:
    """A user who reports the recommendation id of another one neither changes that row nor joins an impression."""
    recommendation = str(uuid.uuid4())
    with postgres_database.transaction() as cursor:
        cursor.execute(_IMPRESSION, (NOON, recommendation, "1", '[{"movie_id": "a+1999", "propensity": 1}]'))
    where: dict[str, Any] = {"recommendation": recommendation, "movie": "a+1999", "position": 1}
    write_event(documents, "1", "movies_seen", **where)
    update_usage(postgres_database, documents, NOON + MINUTE)
    write_event(documents, "2", "play_started", NOON + 15 * MINUTE, **where)
    update_usage(postgres_database, documents, NOON + 20 * MINUTE)
    assert read(postgres_database, "SELECT user_id, played FROM app_list_outcomes") == [("1", False)]


def test_usage_without_mongodb_keeps_the_watermark(postgres_database: Database, documents: Documents) -> None:
    """A MongoDB that is away fails the task as transient, and nothing is skipped afterwards."""
    away = Documents(f"mongodb://127.0.0.1:{free_port()}/?directConnection=true", selection_ms=50)
    with pytest.raises(DocumentsUnavailable):
        update_usage(postgres_database, away, NOON)
    away.close()
    assert read(postgres_database, "SELECT * FROM app_progress") == []
    write_event(documents, "1", "searched")
    update_usage(postgres_database, documents, NOON + MINUTE)
    assert read(postgres_database, "SELECT events FROM app_days") == [(1,)]


def test_catalog_of_the_serving_model_is_written_once(
    postgres_database: Database, documents: Documents, tmp_path: Path
) -> None:
    """The titles of the released model are kept once; what the movie service described stays as it is."""
    store = FileStore(tmp_path)
    assert update_catalog(postgres_database, store, documents, NOON) == 0
    model = two_group_model()
    count = len(model.movie_ids)
    titles = MovieMetadata(titles=tuple(f"Title {n}" for n in range(count)), years=(1999,) * count)
    named = replace(model, metadata=titles)
    promote(store, write_artifact(store, named, trained_through=NOON), author="test")
    with documents.collection("movies") as movies:
        movies.insert_one({"_id": model.movie_ids[0], "title": "Described", "words": ["described"], "told": NOON})
    assert update_catalog(postgres_database, store, documents, NOON) == count - 1
    assert update_catalog(postgres_database, store, documents, NOON) == 0
    with documents.collection("movies") as movies:
        assert movies.count_documents({"title_only": True}) == count - 1
        assert movies.count_documents({"title": "Described"}) == 1
