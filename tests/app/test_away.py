"""The app while a part that it uses is away: never an error of the server, and back without a restart."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.app.conftest import app_environment
from tests.app.visit import App, Visit, movie_path
from tests.servers.function import Function
from tests.servers.lists import ListServer
from tests.servers.movie_service import MOVIES, MovieServer
from tests.support.waiting import wait_until

from marquee.app.document_schema import prepare_documents
from marquee.app.documents import Documents
from marquee.app.texts import TEXTS
from marquee.local.embedded_mongo import EmbeddedMongo
from marquee.local.process import free_port

pytestmark = pytest.mark.servers
YOUR_LIST = f"<h2>{TEXTS['row_list']}</h2>"
"""The heading of the row: the note that it is away has the same words."""
PAGES = ("/", movie_path(MOVIES[0]), "/search?q=a", "/you", "/offline")


@pytest.fixture(scope="module")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongo]:
    """Start a MongoDB that the tests may kill."""
    with EmbeddedMongo(tmp_path_factory.mktemp("mongo")) as server:
        yield server


@pytest.fixture(scope="module")
def all_parts(mongo_server: EmbeddedMongo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Start the app on that MongoDB."""
    documents = Documents(mongo_server.url, deadline_ms=20_000, pause_s=0)
    prepare_documents(documents, 90)
    directory = tmp_path_factory.mktemp("app")
    with (
        MovieServer() as movies,
        ListServer(MOVIES) as lists,
        Function("app", directory, app_environment(mongo_server.url, movies, lists)) as function,
    ):
        yield App(function, movies, lists, documents)
    documents.close()


@pytest.fixture
def mongo(mongo_server: EmbeddedMongo) -> EmbeddedMongo:
    """Return a MongoDB that runs and answers, whatever the previous test did to it."""
    if mongo_server.process is not None:
        mongo_server.process.kill(signal.SIGCONT)
    if not mongo_server.pids:
        mongo_server.start()
    wait_until(mongo_server.is_healthy)
    return mongo_server


@pytest.fixture
def parts(all_parts: App, mongo: EmbeddedMongo) -> App:  # MongoDB first.
    """Return the app when all its parts answer and it accepts writes, whatever the previous test did to them."""
    all_parts.lists.status = 200
    visitor = Visit(all_parts)
    wait_until(lambda: visitor.open("/you").status == 200 and bool(visitor.cookie))
    wait_until(lambda: visitor.post("/you/consent", analytics=0).status == 303)
    return all_parts


def open_home(visitor: Visit) -> str:
    return visitor.open("/").body.decode()


def test_app_without_mongodb_shows_what_it_can(parts: App, mongo: EmbeddedMongo) -> None:
    """A known device sees pages without what MongoDB holds, a new one too; writes are 503; then all is back."""
    visitor = Visit(parts, consent=True)
    wait_until(lambda: visitor.post(movie_path(MOVIES[1], "/list"), wanted=1).status == 303)
    assert YOUR_LIST in open_home(visitor)
    event = visitor.event()
    mongo.kill()
    try:
        for known in (visitor, Visit(parts)):
            for path in PAGES:
                assert known.open(path).status == 200, path
        home = open_home(visitor)
        assert TEXTS["away_documents"] in home
        assert YOUR_LIST not in home
        assert "data-movie=" in home
        for reply in (visitor.post(movie_path(MOVIES[1], "/list"), wanted=1), visitor.post("/you/forget")):
            assert reply.status == 503
            assert "Retry-After" in reply.headers
        assert visitor.open("/you/export").status == 503
        # Not 403, after which the device would drop what waits.
        assert visitor.send(event).status == 503
    finally:
        mongo.start()
    # Writes return by themselves: no page has to be read first.
    wait_until(lambda: visitor.send(event).status == 202)
    wait_until(lambda: YOUR_LIST in open_home(visitor))
    assert parts.count("events", _id=event["id"]) == 1


def test_app_with_a_hung_mongodb_waits_for_one_deadline(parts: App, mongo: EmbeddedMongo) -> None:
    """A server that accepts and never answers costs a page one deadline, and the next pages none."""
    visitor = Visit(parts, consent=False)
    assert mongo.process is not None
    mongo.process.kill(signal.SIGSTOP)
    try:
        assert visitor.open("/").status == 200
        assert TEXTS["away_documents"] in open_home(visitor)
    finally:
        mongo.process.kill(signal.SIGCONT)
    wait_until(lambda: TEXTS["away_documents"] not in open_home(visitor))
    assert TEXTS["row_for_you"] in open_home(visitor)


def test_app_without_recommend_shows_the_other_rows(parts: App) -> None:
    """A status, a wrong answer or no answer leave out the list and say so."""
    visitor = Visit(parts, consent=False)
    wait_until(lambda: visitor.post(movie_path(MOVIES[1], "/list"), wanted=1).status == 303)
    parts.lists.status = 503
    try:
        home = open_home(visitor)
        assert TEXTS["away_lists"] in home
        assert YOUR_LIST in home
        assert visitor.open(movie_path(MOVIES[1])).status == 200
    finally:
        parts.lists.status = 200
    assert TEXTS["row_for_you"] in open_home(visitor)


def test_app_without_movie_service_shows_known_movies(
    mongo: EmbeddedMongo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Known movies are shown, plays and ratings are 503, a new visitor gets 503; a service that comes back serves."""
    port = free_port()
    environment = {
        "MARQUEE_DOCUMENTS_URL": mongo.url,
        "MARQUEE_MOVIES_URL": f"http://127.0.0.1:{port}",
    }
    with ListServer(MOVIES) as lists:
        environment["MARQUEE_RECOMMEND_URL"] = lists.url
        with Function("app", tmp_path_factory.mktemp("app"), environment) as function:
            with MovieServer(port) as movies:
                app = App(function, movies, lists, Documents(mongo.url))
                visitor = Visit(app, consent=False)
                visitor.open("/")
            assert visitor.open("/").status == 200
            assert visitor.open(movie_path(MOVIES[0])).status == 200
            assert visitor.post(movie_path(MOVIES[0], "/rating"), rating=5).status == 503
            assert visitor.post(f"/watch/{MOVIES[0]}/0").status == 503
            stranger = Visit(app).open("/")
            assert stranger.status == 503
            assert "Retry-After" in stranger.headers
            with MovieServer(port):
                assert visitor.post(movie_path(MOVIES[0], "/rating"), rating=5).status == 303
            app.documents.close()
