"""Descriptions of movies: a malformed one costs nothing but itself, from the movie service and from MongoDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from tests.servers.http_thread import HttpThread

from marquee.app.documents import Documents
from marquee.app.movie_cache import MovieCache
from marquee.app.movie_service_client import MovieServiceClient
from marquee.errors import MovieServiceUnavailable

pytestmark = pytest.mark.servers
GOOD = {"id": "good+1999", "title": "Good", "genres": [{"name": "Drama"}], "release_date": "1999-05-01", "runtime": 101}
ODD: list[dict[str, Any]] = [
    {"genres": None, "release_date": None, "runtime": None, "overview": None},
    {"genres": "Drama", "release_date": 1999, "runtime": "90", "overview": []},
    {"genres": [None, {"name": None}, {"nom": "x"}, 7], "release_date": "soon", "runtime": -5},
    {"genres": [{"name": ""}], "release_date": "9999-12-31", "runtime": 10**9},
]


class _Service(BaseHTTPRequestHandler):
    body = b"[]"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def cache(documents: Documents) -> Iterator[MovieCache]:
    with HttpThread(_Service) as server:
        yield MovieCache(documents, MovieServiceClient(server.url, timeout_s=20))


def tell(*movies: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Service, "body", json.dumps(movies if len(movies) > 1 else movies[0]).encode())


@pytest.mark.parametrize("odd", ODD)
def test_find_malformed_attributes_are_unknown(
    cache: MovieCache, documents: Documents, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    """The movie has its title, no genre and a typical length, as the service tells it and as MongoDB keeps it."""
    tell({"id": "odd+1", "title": "Odd"} | odd, GOOD, {"id": "none+1"}, 7, monkeypatch=monkeypatch)
    found = cache.find(["odd+1", "good+1999", "none+1"])
    assert set(found) == {"odd+1", "good+1999"}
    assert (found["odd+1"].genre_names, found["odd+1"].year, found["odd+1"].minutes) == ((), "", 90)
    assert (found["good+1999"].year, found["good+1999"].minutes) == ("1999", 101)
    documents.database["movies"].update_one({"_id": "odd+1"}, {"$set": odd})
    fresh = MovieCache(documents, MovieServiceClient("http://127.0.0.1:9", timeout_s=1))
    assert {movie.id for movie in fresh.search("good") + fresh.search("odd")} == {"odd+1", "good+1999"}
    assert fresh.find(["odd+1"])["odd+1"].minutes == 90
    assert [movie.id for movie in fresh.newest(10) if movie.id == "good+1999"] == ["good+1999"]


def test_newest_placeholder_date_is_not_the_newest(cache: MovieCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release in the year 9999 does not head the row of new movies for ever."""
    tell(GOOD, {"id": "odd+1", "title": "Odd", "release_date": "9999-12-31"}, monkeypatch=monkeypatch)
    cache.find(["good+1999", "odd+1"])
    assert [movie.id for movie in cache.newest(10)] == ["good+1999"]


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[" * 100_000, b'"text"', b'[{"id": 7}]', b"{}"])
def test_find_one_answer_without_movies_is_unavailable(
    cache: MovieCache, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """The page says that the service is away, instead of failing or denying the movie."""
    monkeypatch.setattr(_Service, "body", body)
    assert cache.find(["good+1999"]) == {}
    with pytest.raises(MovieServiceUnavailable):
        cache.find_one("good+1999")
