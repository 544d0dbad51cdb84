"""Metadata from the movie service in a retraining: the simulated service, its limits, and a service with faults."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.servers.customers import CustomerServer
from tests.servers.http_thread import HttpThread
from tests.servers.movie_service import MOVIES, MovieServer

from marquee.data import snapshot
from marquee.data.catalog_feed import CACHE, CatalogFeed
from marquee.data.snapshot import SnapshotRequest
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 30, tzinfo=UTC)
IDS = ["a+1990", "b+1991", "c+1992"]
COMPLETE = {
    "id": "a+1990",
    "title": "A \u0000 film\n of 1990",
    "genres": [{"id": 1, "name": "Drama"}, {"id": 2, "name": "War|Peace"}],
    "original_language": "fr",
    "release_date": "1990-05-01",
    "adult": "True",
    "production_countries": [{"iso_3166_1": "FR", "name": "France"}],
    "cost": 0.4,
    "overview": "not used",
}


def serve(answer: Callable[[list[str]], tuple[int, bytes]]) -> tuple[HttpThread, list[list[str]]]:
    """Return a movie service that answers a list of ids with ``answer``, and the lists that it was asked for."""
    asked: list[list[str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(unquote(self.path.removeprefix("/movie/")).split(","))
            status, body = answer(asked[-1])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for start in range(0, len(body), 64):
                self.wfile.write(body[start : start + 64])
                if body.startswith(b" "):  # A body that trickles in.
                    self.wfile.flush()
                    time.sleep(0.05)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    return HttpThread(Handler), asked


def answer_all(ids: list[str]) -> tuple[int, bytes]:
    documents: list[dict[str, Any]] = [{**COMPLETE, "id": id_} for id_ in ids]
    return 200, json.dumps(documents if len(ids) > 1 else documents[0]).encode()


def feed(url: str, store: FileStore | None = None, *, now: datetime = NOW, **limits: float) -> CatalogFeed:
    return CatalogFeed(url, store, **{"requests_per_s": 0.0, "timeout_s": 2.0, **limits}, clock=lambda: now)


def test_read_simulated_service_describes_known_movies() -> None:
    """The simulator's service describes its movies in bulk; an id that it does not know is left out."""
    with MovieServer() as server:
        answer = feed(server.url).read([*MOVIES, "nothing+1900"])
        assert server.service.requests == 1
    assert set(answer.rows) == set(MOVIES)
    row = answer.rows[MOVIES[0]]
    assert row["year"] == MOVIES[0][-4:]
    assert row["language"] == "en"
    assert row["genres"]
    assert float(row["cost"]) > 0
    assert answer.counts == {"asked": 61, "known": 60, "cached": 0, "malformed": 0, "missing": 0}


def test_read_maps_fields_and_cleans_text() -> None:
    """Texts become single lines of printable characters, and a separator within a genre a space."""
    server, _ = serve(answer_all)
    with server:
        (row,) = feed(server.url).read(["a+1990"]).rows.values()
    assert row == {
        "title": "A film of 1990",
        "year": "1990",
        "genres": "Drama|War Peace",
        "language": "fr",
        "countries": "FR",
        "adult": "True",
        "cost": "0.4",
    }


def test_read_cached_movies_are_not_asked_until_they_are_old(tmp_path: Path) -> None:
    """A second retraining asks only for new movies; after a week for all again; a damaged cache is made again."""
    server, asked = serve(answer_all)
    store = FileStore(tmp_path)
    with server:
        feed(server.url, store).read(IDS[:2])
        again = feed(server.url, store, now=NOW + timedelta(days=6)).read(IDS)
        assert asked == [IDS[:2], IDS[2:]]
        assert set(again.rows) == set(IDS)
        assert again.counts["cached"] == 2
        feed(server.url, store, now=NOW + timedelta(days=8)).read(IDS)
        assert asked[2:] == [IDS[:2]]
        store.replace(CACHE, b"{damaged", store.get(CACHE).version)
        feed(server.url, store).read(IDS)
        feed(server.url, store).read(IDS)
    assert asked[3:] == [IDS]


@pytest.mark.parametrize(
    "cache",
    [
        b'{"a+1990": {"read": "2027-11-30T00:00:00Z", "row": {"title": "A"}}}',
        b'{"a+1990": {"read": "2026-11-30T00:00:00", "row": {"title": "A"}}}',
        b'{"a+1990": {"read": "2026-11-30T00:00:00Z", "row": {"title": "\xff"}}}',
        b"[" * 100_000,
    ],
    ids=["a year ahead", "without a zone", "not UTF-8", "too deep"],
)
def test_read_cache_of_another_clock_or_damaged_is_made_again(tmp_path: Path, cache: bytes) -> None:
    """An entry that a clock ahead has written is not believed for a year, and no damage ends a retraining."""
    server, asked = serve(answer_all)
    store = FileStore(tmp_path)
    store.replace(CACHE, cache, None)
    with server:
        assert feed(server.url, store).read(IDS[:1]).rows["a+1990"]["language"] == "fr"
        feed(server.url, store).read(IDS[:1])
    assert asked == [IDS[:1]]


@pytest.mark.parametrize("date", ["0001-01-01", "9999-12-31", "199-01-01"])
def test_read_placeholder_date_gives_no_year(date: str) -> None:
    """The zero and the end of calendars are placeholders."""
    server, _ = serve(lambda ids: (200, json.dumps({**COMPLETE, "release_date": date}).encode()))
    with server:
        assert "year" not in feed(server.url).read(IDS[:1]).rows["a+1990"]


def test_read_many_movies_requests_fit_a_server(tmp_path: Path) -> None:
    """A request has at most 200 ids and 6,000 bytes of path, which the web server of the simulator accepts."""
    ids = [f"m+{number:04}+1990" for number in range(450)] + [f"{'long+' * 24}{number:02}" for number in range(50)]
    server, asked = serve(answer_all)
    with server:
        assert len(feed(server.url).read(ids).rows) == 500
    assert max(map(len, asked)) == 200
    assert sum(map(len, asked)) == 500
    assert len(asked) > 3
    with CustomerServer() as simulator:
        assert feed(simulator.url).read(ids).counts["missing"] == 0


def test_read_above_rate_limit_waits_and_gets_all() -> None:
    """A service that refuses with 429 and Retry-After is asked again, and every movie is described."""
    refusals = [429]
    server, asked = serve(lambda ids: (refusals.pop(), b"{}") if refusals else answer_all(ids))
    with server:
        assert set(feed(server.url).read(IDS).rows) == set(IDS)
    assert asked == [IDS, IDS]


@pytest.mark.parametrize(
    "body",
    [b"<html>502</html>", b"[1, 2", b"\xff\xfe", b"null", b'{"message": "gone"}', b'[{"id": "other+1"}]', b"[[]]"],
)
def test_read_malformed_answer_uses_cache(tmp_path: Path, body: bytes) -> None:
    """An answer that is no list of the movies asked for is ignored: old entries stay, and nothing is overwritten."""
    store = FileStore(tmp_path)
    good, _ = serve(answer_all)
    with good:
        feed(good.url, store).read(IDS[:2])
    before = store.get(CACHE).data
    bad, _ = serve(lambda ids: (200, body))
    with bad:
        answer = feed(bad.url, store, now=NOW + timedelta(days=30)).read(IDS)
    assert set(answer.rows) == set(IDS[:2])
    assert answer.counts["missing"] == 1
    assert store.get(CACHE).data == before


def test_read_one_malformed_movie_leaves_the_others() -> None:
    """A movie with a field of another type is counted; the others of the same answer are described."""
    documents = [{**COMPLETE, "id": IDS[0], "genres": "Drama"}, {**COMPLETE, "id": IDS[1]}, 7]
    server, _ = serve(lambda ids: (200, json.dumps(documents).encode()))
    with server:
        answer = feed(server.url).read(IDS)
    assert set(answer.rows) == {IDS[1]}
    assert answer.counts == {"asked": 3, "known": 1, "cached": 0, "malformed": 1, "missing": 1}


@pytest.mark.parametrize("fault", ["down", "error", "slow", "trickle"])
def test_read_faulty_service_ends_at_deadline(caplog: pytest.LogCaptureFixture, fault: str) -> None:
    """A service that is away, answers 500, or answers too slowly ends the reading in time, with a warning."""

    def answer(ids: list[str]) -> tuple[int, bytes]:
        if fault == "slow":
            time.sleep(1)
        return (500, b"{}") if fault == "error" else (200, b" " * 10_000 if fault == "trickle" else b"[]")

    server, _ = serve(answer)
    started = time.monotonic()
    with server:
        url = "http://127.0.0.1:9" if fault == "down" else server.url
        answered = feed(url, deadline_s=0.5).read(IDS)
    assert time.monotonic() - started < 5
    assert answered.rows == {}
    assert answered.counts["missing"] == 3
    assert "the movie service described 0 of 3 movies" in caplog.text


def test_read_huge_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer beyond the limit of a body is a fault, not memory."""
    monkeypatch.setattr("marquee.data.catalog_feed._MAX_BYTES", 1_000)
    monkeypatch.setattr("marquee.data.catalog_feed._ATTEMPTS", 1)
    server, _ = serve(lambda ids: (200, b"[" + b"0," * 1_000 + b"0]"))
    with server:
        assert feed(server.url).read(IDS).rows == {}


def test_snapshot_keeps_what_the_service_said(tmp_path: Path) -> None:
    """The snapshot has the service's rows: they fill what movies.csv lacks, and a movie of the service is listed."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "ratings.csv").write_text("user_id,movie_id,rating,time\n1,a+1990,4,10\n2,b+1991,2,11\n")
    (base / "movies.csv").write_text("movie_id,title,year,genres\na+1990,Own title,,\n")
    server, _ = serve(answer_all)
    with server:
        request = SnapshotRequest(NOW, base, 1.0, 5.0)
        snapshot.write_snapshot(request, None, tmp_path / "out", catalog=feed(server.url))
    stored = snapshot.read_snapshot(tmp_path / "out")
    movies = stored.base.side_information.movies
    assert (movies["a+1990"]["title"], movies["a+1990"]["genres"]) == ("Own title", "Drama|War Peace")
    assert movies["b+1991"]["title"] == "A film of 1990"
    assert stored.about.catalog["known"] == 2
