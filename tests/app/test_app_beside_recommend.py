"""The app beside the real ``recommend``: a rating changes the next list, and the switch marks the account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.app.conftest import app_environment
from tests.app.visit import App, Visit, movie_path
from tests.privacy.held_data import KEY
from tests.servers.function import Function
from tests.servers.lists import ListServer
from tests.servers.movie_service import MOVIES, MovieServer
from tests.serving.models import release_model, two_group_model
from tests.support.database_fixtures import empty, kind, parser, plain_database, url
from tests.support.logins import execute_as_admin, url_as
from tests.support.records import batch, rate
from tests.support.waiting import wait_until

from marquee.app.documents import Documents
from marquee.app.texts import TEXTS
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader, set_profiling
from marquee.events.parser import EventParser
from marquee.ingest.store import write_batch
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.registry.object_store.file_store import FileStore

__all__ = ["empty", "kind", "parser", "plain_database", "url"]
pytestmark = pytest.mark.servers
ON, OFF = TEXTS["you_personal_on"], TEXTS["you_personal_off"]
LOGIN = "CREATE ROLE login_of_app LOGIN PASSWORD 'secret' IN ROLE marquee_app"


@pytest.fixture
def system(
    documents: Documents,
    plain_database: Database,
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[App, Function]]:
    """Start the app as a member of its role, with the real ``recommend`` on the same database."""
    directory = tmp_path_factory.mktemp("profiling")
    store = FileStore(directory / "objects")
    release_model(store, replace(two_group_model(len(MOVIES)), movie_ids=list(MOVIES)))
    execute_as_admin(postgres, "DROP ROLE IF EXISTS login_of_app")
    execute_as_admin(postgres, LOGIN)
    recommend = {
        "MARQUEE_DATABASE_URL": plain_database.url,
        "MARQUEE_OBJECTS_URL": f"file://{store.root}",
        "MARQUEE_PRIVACY_KEY": KEY,
        "MARQUEE_CALLER_TIMEOUT_MS": "20000",
        "MARQUEE_LOOKUP_DEADLINE_MS": "5000",
    }
    with (
        MovieServer() as movies,
        ListServer(MOVIES) as unused,
        Function("recommend", directory, recommend) as lists,
    ):
        environment = app_environment(documents.url, movies, unused) | {
            "MARQUEE_RECOMMEND_URL": f"http://127.0.0.1:{lists.port}",
            "MARQUEE_DATABASE_URL": url_as(plain_database.url, "login_of_app"),
            "MARQUEE_PRIVACY_KEY": KEY,
        }
        with Function("app", directory, environment) as function:
            yield App(function, movies, unused, documents), lists


def test_rating_changes_the_next_list(
    system: tuple[App, Function], plain_database: Database, parser: EventParser
) -> None:
    """The first list is a popular one; once the record of a rating is a row, the next one is folded in without it."""
    app, recommend = system
    visitor = Visit(app, consent=False)

    def read_list() -> tuple[str, list[str]]:
        path = f"/recommend/{visitor.user_id}"
        answer: Any = recommend.get(path, "GET", None, Accept="application/json").document
        return answer["tier"], [movie["movie_id"] for movie in answer["movies"]]

    visitor.open("/you")
    rated = read_list()[1][0]
    assert f'data-movie="{rated}"' in visitor.open("/").body.decode()
    assert visitor.post(movie_path(rated, "/rating"), rating=5).status == 303
    (record,) = (line for line in app.movies.records_of(visitor.user_id) if "/rate/" in line)
    assert record == f"GET /rate/{rated}=5"
    write_batch(plain_database, batch([rate(int(visitor.user_id), 5, rated)]), parser)
    wait_until(lambda: read_list()[0] == "folded-in")
    assert rated not in read_list()[1]
    home = visitor.open("/").body.decode()
    assert f'data-movie="{rated}" data-recommendation' not in home
    assert f"<h2>{TEXTS['row_for_you']}</h2>" in home


def test_personal_switch_marks_the_account_for_all_parts(
    system: tuple[App, Function], plain_database: Database
) -> None:
    """Off and on again change what every part reads; a mark that an operator sets is shown, and can be removed."""
    app, recommend = system
    visitor = Visit(app, consent=False)

    def shows(text: str) -> bool:
        return text in visitor.open("/you").body.decode()

    def is_allowed() -> bool:
        return not MarkReader(KEY).read(plain_database).holds(visitor.user_id)

    assert shows(ON)
    assert visitor.post("/you/personal", personal=0).status == 303
    assert shows(OFF)
    assert not is_allowed()
    assert visitor.post("/you/personal", personal=1).status == 303
    assert shows(ON)
    assert is_allowed()
    set_profiling(plain_database, KEY, visitor.user_id, allowed=False)
    assert shows(OFF)
    path = f"/recommend/{visitor.user_id}"
    wait_until(lambda: recommend.get(path, "GET", None, Accept="application/json").document["tier"] == "not-profiled")
    assert visitor.post("/you/personal", personal=1).status == 303
    assert is_allowed()


def test_personal_switch_without_the_database_changes_nothing(
    documents: Documents, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The answer is 503 and says so; the page shows the app's own state, and other pages need no database."""
    database = {"MARQUEE_DATABASE_URL": "postgresql://login:secret@127.0.0.1:9/marquee", "MARQUEE_PRIVACY_KEY": KEY}
    with MovieServer() as movies, ListServer(MOVIES) as lists:
        environment = app_environment(documents.url, movies, lists) | database
        with Function("app", tmp_path_factory.mktemp("app"), environment) as function:
            visitor = Visit(App(function, movies, lists, documents), consent=False)
            reply = visitor.post("/you/personal", personal=0)
            assert (reply.status, TEXTS["away_profiling"] in reply.body.decode()) == (503, True)
            assert "Retry-After" in reply.headers
            page = visitor.open("/you")
            assert (page.status, ON in page.body.decode()) == (200, True)
            assert TEXTS["row_for_you"] in visitor.open("/").body.decode()


@pytest.mark.parametrize(("tier", "title"), [("popular", "row_for_you"), ("not-profiled", "row_popular")])
def test_home_names_a_list_without_a_profile(app: App, tier: str, title: str) -> None:
    """If ``recommend`` must not profile the account, the row is not called personal, and no history is used."""
    visitor = Visit(app, consent=False)
    visitor.post(f"/watch/{MOVIES[4]}/7")
    app.lists.tier = tier
    try:
        home = visitor.open("/").body.decode()
    finally:
        app.lists.tier = "popular"
    assert f"<h2>{TEXTS[title]}</h2>" in home
    assert ("Because you watched" in home) is (tier == "popular")
