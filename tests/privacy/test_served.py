"""The assembled service on a real database: a mark ends the profile of a user in what is served."""

from __future__ import annotations

import json

import pytest
from tests.privacy.held_data import KEY
from tests.serving.models import get_group, make_movie_id, release_still_model, two_group_model
from tests.support.records import batch, rate
from tests.support.waiting import wait_until

from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.db.privacy_marks import FORGOTTEN, NOT_PROFILED, MarkReader, change_mark, set_profiling
from marquee.events.parser import EventParser
from marquee.ingest.store import write_batch
from marquee.registry.object_store.file_store import FileStore
from marquee.serving.app import create_service
from marquee.serving.instrumentation import InstrumentedApp


def ask(service: InstrumentedApp, user: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(
        service.reply("GET", f"/recommend/{user}", {"HTTP_ACCEPT": "application/json"}).body
    )
    return document


def groups(document: dict[str, object]) -> set[int]:
    movies: list[dict[str, str]] = document["movies"]  # type: ignore[assignment]
    return {get_group(movie["movie_id"]) for movie in movies}


def create(store: FileStore, database: Database, key: str) -> InstrumentedApp:
    settings = Settings(
        objects_url=f"file://{store.root}",
        database_url=database.url,
        privacy_key=key,
        access="platform",
        caller_timeout_ms=20_000,
        lookup_deadline_ms=5_000,
    )
    return create_service(settings)


@pytest.mark.servers
@pytest.mark.parametrize("mark", [FORGOTTEN, NOT_PROFILED])
def test_recommend_serves_nothing_of_a_user_who_is_marked(
    plain_database: Database, parser: EventParser, store: FileStore, mark: str
) -> None:
    """The user of the artifact and the user with recent ratings get one list without a profile, and no id in it."""
    release_still_model(store, two_group_model())
    write_batch(plain_database, batch([rate(3, 5, make_movie_id(i)) for i in (1, 3, 5)]), parser)
    service = create(store, plain_database, KEY)
    wait_until(lambda: ask(service, "1000")["tier"] == "personalised")
    assert groups(ask(service, "1000")) == {0}
    assert groups(ask(service, "3")) == {1}
    with plain_database.transaction() as cursor:
        change_mark(cursor, KEY, ["1000", "3"], mark)
    wait_until(lambda: ask(service, "1000")["tier"] == "not-profiled")
    one, other = ask(service, "1000"), ask(service, "3")
    assert one == other
    assert (one["user_id"], groups(one)) == ("", {0, 1})
    assert ask(service, "1002")["tier"] == "personalised"


@pytest.mark.servers
@pytest.mark.parametrize("key", ["", "another key" * 4])
def test_recommend_wrong_key_profiles_no_user(plain_database: Database, store: FileStore, key: str) -> None:
    """The mark of any user ends all profiles, because the service cannot tell who it is; it says what is wrong."""
    release_still_model(store, two_group_model())
    service = create(store, plain_database, key)
    wait_until(lambda: ask(service, "1000")["tier"] == "personalised")
    assert service.reply("GET", "/readyz", {}).status == 200
    set_profiling(plain_database, KEY, "7", allowed=False)
    assert MarkReader(KEY).read(plain_database).holds("7")
    wait_until(lambda: ask(service, "1000")["tier"] == "not-profiled")
    reply = service.reply("GET", "/readyz", {})
    assert (reply.status, b"MARQUEE_PRIVACY_KEY" in reply.body) == (503, True)
