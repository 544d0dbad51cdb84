"""The app while a part that it uses is away: never an error of the server, and back without a restart."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from tests.app.conftest import app_environment
from tests.app.visit import App, Visit, movie_path
from tests.servers.function import Function
from tests.servers.lists import ListServer
from tests.servers.movie_service import MOVIES, MovieServer

from marquee.app.document_schema import prepare_documents
from marquee.app.documents import PAUSE_S, Documents
from marquee.local.embedded_mongo import EmbeddedMongo
from marquee.local.process import free_port

pytestmark = pytest.mark.servers
PAGES = ("/", movie_path(MOVIES[0]), "/search?q=a", "/you", "/offline")


@pytest.fixture(scope="module")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongo]:
    """Start a MongoDB that the tests may kill."""
    with EmbeddedMongo(tmp_path_factory.mktemp("mongo")) as server:
        yield server


@pytest.fixture(scope="module")
def parts(mongo: EmbeddedMongo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Start the app on that MongoDB."""
    documents = Documents(mongo.url, deadline_ms=20_000, pause_s=0)
    prepare_documents(documents, 90)
    directory = tmp_path_factory.mktemp("app")
    with (
        MovieServer() as movies,
        ListServer(MOVIES) as lists,
        Function("app", directory, app_environment(mongo.url, movies, lists)) as function,
    ):
        yield App(function, movies, lists, documents)
    documents.close()


def wait_until_back(visitor: Visit, text: str) -> None:
    """Open home until it contains ``text`` again."""
    deadline = time.monotonic() + 30
    while text not in visitor.open("/").body.decode():
        assert time.monotonic() < deadline, f"home has no {text!r}"
        time.sleep(0.1)


def test_app_without_mongodb_shows_what_it_can(parts: App, mongo: EmbeddedMongo) -> None:
    """A known device sees pages without what MongoDB holds, a new one too; writes are 503; then all is back."""
    visitor = Visit(parts, consent=True)
    visitor.post(movie_path(MOVIES[1], "/list"), wanted=1)
    assert "Your list" in visitor.open("/").body.decode()
    event = visitor.event()
    mongo.kill()
    try:
        for known in (visitor, Visit(parts)):
            for path in PAGES:
                assert known.open(path).status == 200, path
        home = visitor.open("/").body.decode()
        assert "not available" in home
        assert "data-movie=" in home
        for reply in (visitor.post(movie_path(MOVIES[1], "/list"), wanted=1), visitor.post("/you/forget")):
            assert reply.status == 503
            assert "Retry-After" in reply.headers
        assert visitor.open("/you/export").status == 503
        # Not 403, after which the device would drop what waits.
        assert visitor.send(event).status == 503
    finally:
        mongo.start()
    wait_until_back(visitor, "Your list")
    assert visitor.send(event).status == 202


def test_app_with_a_hung_mongodb_waits_for_one_deadline(parts: App, mongo: EmbeddedMongo) -> None:
    """A server that accepts and never answers costs a page one deadline, and the next pages none."""
    visitor = Visit(parts, consent=False)
    assert mongo.process is not None
    mongo.process.kill(signal.SIGSTOP)
    try:
        assert visitor.open("/").status == 200
        assert "not available" in visitor.open("/").body.decode()
    finally:
        mongo.process.kill(signal.SIGCONT)
    time.sleep(PAUSE_S / 10)
    wait_until_back(visitor, "For you")


def test_app_without_recommend_shows_the_other_rows(parts: App) -> None:
    """A status, a wrong answer or no answer leave out the list and say so."""
    visitor = Visit(parts, consent=False)
    visitor.post(movie_path(MOVIES[1], "/list"), wanted=1)
    parts.lists.status = 503
    try:
        home = visitor.open("/").body.decode()
        assert "Recommendations are not available" in home
        assert "Your list" in home
        assert visitor.open(movie_path(MOVIES[1])).status == 200
    finally:
        parts.lists.status = 200
    assert "For you" in visitor.open("/").body.decode()


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


def test_app_without_settings_says_which_are_missing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The process lives; each page is 503, and the log names the variables."""
    with Function("app", tmp_path_factory.mktemp("app"), {}) as function:
        assert function.get("/healthz").status == 200
        assert function.get("/").status == 503
        assert "MARQUEE_DOCUMENTS_URL" in function.log.read_text()
