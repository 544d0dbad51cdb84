"""The app over HTTP, as a browser without JavaScript sees it."""

from __future__ import annotations

import http.client
import json
import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime

import pytest
from tests.app.visit import App, Visit, movie_path
from tests.servers.movie_service import MOVIES

from marquee.app.movie_cache import MovieTitle, keep_titles

pytestmark = pytest.mark.servers
MOVIE = MOVIES[3]


def test_home_first_visit_makes_an_account_and_shows_the_list(app: App) -> None:
    """The account is a line of the movie service's log; the list has its id and positions from 1."""
    visitor = Visit(app)
    first = visitor.open("/")
    assert first.status == 200
    text = first.body.decode()
    visitor.open("/you")
    assert app.movies.records_of(visitor.user_id) == ["GET /create_account"]
    assert app.lists.recommendation_ids[-1] in text
    assert re.findall(r'data-position="(\d+)"', text) == [str(n) for n in range(1, 21)]
    assert "HttpOnly; SameSite=Lax" in first.headers["Set-Cookie"]


def test_home_again_is_the_same_user(app: App) -> None:
    """A device is known by its cookie: no second account, and no second cookie."""
    visitor = Visit(app)
    visitor.open("/")
    assert "Set-Cookie" not in visitor.open("/").headers
    visitor.open("/you")
    assert len(app.movies.records_of(visitor.user_id)) == 1


def test_cookie_over_https_has_the_host_prefix(app: App) -> None:
    """Behind a proxy that speaks HTTPS the cookie is Secure and bound to the host."""
    cookie = app.function.get("/", "GET", None, **{"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]
    assert cookie.startswith("__Host-marquee=")
    assert "; Secure" in cookie
    assert "Path=/;" in cookie


def test_movie_rating_becomes_a_record(app: App) -> None:
    """The form sends the rating to the movie service, and the page says so and shows its stars."""
    visitor = Visit(app, consent=False)
    page = visitor.open(movie_path(MOVIE)).body.decode()
    assert page.count('name="rating"') == 5
    reply = visitor.post(movie_path(MOVIE, "/rating"), rating=4)
    assert (reply.status, reply.headers["Location"]) == (303, movie_path(MOVIE, "?rated=4"))
    assert f"GET /rate/{MOVIE}=4" in app.movies.records_of(visitor.user_id)
    rated = visitor.open(movie_path(MOVIE, "?rated=4")).body.decode()
    assert "recorded" in rated
    assert (page.count('class="on"'), rated.count('class="on"')) == (0, 4)
    assert re.findall(r'value="(\d)"[^>]* aria-pressed="true"', rated) == ["4"]
    assert "recorded" not in visitor.open(movie_path(MOVIE, "?rated=6")).body.decode()


@pytest.mark.parametrize("rating", ["0", "6", "", "4.5", "٤", "99999999999999999999"])
def test_movie_rating_that_is_invalid_is_refused(app: App, rating: str) -> None:
    """Nothing reaches the log, and the page says what is valid."""
    visitor = Visit(app, consent=False)
    reply = visitor.post(movie_path(MOVIE, "/rating"), rating=rating)
    assert reply.status == 400
    assert b"1 to 5" in reply.body
    assert len(app.movies.records_of(visitor.user_id)) == 1


def test_watch_minutes_become_records_and_a_position(app: App) -> None:
    """Each minute is one line; home continues where the user stopped."""
    visitor = Visit(app, consent=False)
    for minute in range(3):
        reply = visitor.post(f"/watch/{MOVIE.replace('+', '%2B')}/{minute}")
        assert reply.status == 204
    assert app.movies.records_of(visitor.user_id)[1:] == [f"GET /data/m/{MOVIE}/{minute}.mpg" for minute in range(3)]
    home = visitor.open("/").body.decode()
    assert "Continue watching" in home
    assert 'value="3"' in home
    assert "Continue at minute 3" in visitor.open(movie_path(MOVIE)).body.decode()
    assert 'data-minute="3"' in visitor.open(f"/watch/{MOVIE}").body.decode()


def test_watch_without_javascript_plays_the_next_minute(app: App) -> None:
    """The form of the player comes back to the player."""
    visitor = Visit(app, consent=False)
    path = f"/watch/{MOVIE.replace('+', '%2B')}"
    reply = visitor.post(f"{path}/0", page=1)
    assert (reply.status, reply.headers["Location"]) == (303, path)
    assert f'action="{path}/1"' in visitor.open(path).body.decode()


def test_list_keeps_a_movie_until_it_is_removed(app: App) -> None:
    """The list is a row of home, the last movie first."""
    visitor = Visit(app, consent=False)
    for movie in MOVIES[40:42]:
        assert visitor.post(movie_path(movie, "/list"), wanted=1).status == 303
    home = visitor.open("/").body.decode().partition("Your list")[2]
    assert home.index(MOVIES[41]) < home.index(MOVIES[40])
    visitor.post(movie_path(MOVIES[40], "/list"), wanted=0)
    assert MOVIES[40] not in visitor.open("/").body.decode().partition("Your list")[2]


@pytest.mark.parametrize("path", ["/movie/none%2B1900", "/watch/none%2B1900", "/nothing", "/movie/a%2Cb", "/assets/x"])
def test_page_that_does_not_exist_is_404(app: App, path: str) -> None:
    """An unknown movie, file or path is not found."""
    assert Visit(app).open(path).status == 404


def test_search_finds_beginnings_of_words(app: App) -> None:
    """All words must begin a word of the title, in any order and case; operators are words like others."""
    visitor = Visit(app)
    visitor.open("/")
    title = MOVIES[0].rsplit("+", 1)[0].split("+")
    found = visitor.open(f"/search?q={title[1][:3].upper()}+{title[0][:2]}").body.decode()
    assert f'data-movie="{MOVIES[0]}"' in found
    for query in ("q=%24gt+.*+%5B", "q[$gt]=", "q=(.*%5B", "q=" + "x" * 500, "q=%FF"):
        reply = visitor.open(f"/search?{query}")
        assert reply.status == 200
        assert "data-movie" not in reply.body.decode()


def test_search_finds_movies_that_only_a_model_knows(app: App) -> None:
    """A title of the served model is found; its screen asks the movie service, and keeps the answer."""
    movie = MOVIES[59]
    title = MovieTitle(movie, "Zanzibar Quartet", 1959, ("Drama",))
    assert [keep_titles(app.documents, [title], datetime.now(UTC)) for _ in range(2)] == [1, 0]
    visitor = Visit(app)
    assert f'data-movie="{movie}"' in visitor.open("/search?q=zanz").body.decode()
    assert visitor.open(movie_path(movie)).status == 200
    stored = app.documents.database["movies"].find_one({"_id": movie})
    assert stored is not None
    assert "title_only" not in stored


def test_page_escapes_what_came_from_outside(app: App) -> None:
    """A query is text on the page."""
    text = Visit(app).open("/search?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").body.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_personal_off_asks_for_no_profiled_list(app: App) -> None:
    """With personal recommendations off, home has no list from the user's history."""
    visitor = Visit(app, consent=False)
    visitor.post("/you/personal", personal=0)
    visitor.open("/you")
    before = len(app.lists.requests)
    assert "Your list" not in visitor.open("/").body.decode()
    asked = app.lists.requests[before:]
    assert all("profile=off" in path for path in asked)


def test_reason_of_a_recommendation_is_shown_on_both_screens(app: App) -> None:
    """Home names the past movie that contributed most, and so does the movie's screen that it opens."""
    visitor = Visit(app)
    home = visitor.open("/").body.decode()
    link = re.search(r'href="(/movie/[^"]*\?because=[^"]*)"', home)
    assert link
    title = MOVIES[50].replace("+", " ").title()
    assert f"Because of {title}" in home
    assert f"Because of {title}" in visitor.open(link[1]).body.decode()
    assert "Because of" not in visitor.open(movie_path(MOVIE, "?because=none%2B1900")).body.decode()


def test_similar_movies_are_on_the_movie_and_for_the_last_watched(app: App) -> None:
    """The movie's screen has a row of similar movies, and home one for the movie that was watched last."""
    visitor = Visit(app, consent=False)
    assert MOVIES[20] in visitor.open(movie_path(MOVIE)).body.decode().partition("Similar movies")[2]
    visitor.post(f"/watch/{MOVIE}/0")
    title = MOVIE.replace("+", " ").title()
    assert MOVIES[20] in visitor.open("/").body.decode().partition(f"Because you watched {title}")[2]


def test_second_device_joins_by_a_code_once(app: App) -> None:
    """The other device becomes the same user; the code is spent."""
    first, second, third = Visit(app, consent=False), Visit(app), Visit(app)
    first.open("/you")
    page = first.post("/you/code").body.decode()
    code = re.search(r'class="code">([A-Z0-9-]{9})<', page)
    assert code
    assert second.post("/you/join", code=code[1]).status == 303
    second.open("/you")
    assert second.user_id == first.user_id
    wrong = third.post("/you/join", code=code[1])
    assert wrong.status == 400
    assert b"unknown, used or expired" in wrong.body


def test_attempts_to_join_are_limited_by_address(app: App) -> None:
    """One address has ten attempts in ten minutes, of all its devices; another address has its own."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}

    def attempt(address: str) -> int:
        forwarded = headers | {"X-Forwarded-For": f"198.51.100.9, {address}", "Cookie": Visit(app).cookie}
        return app.function.get("/you/join", "POST", b"code=AAAABBBB", **forwarded).status

    assert [attempt("203.0.113.1") for _ in range(11)] == [400] * 10 + [429]
    assert attempt("203.0.113.2") == 400


def test_export_has_all_and_forget_leaves_nothing(app: App) -> None:
    """The file has every document; afterwards there is none, and the browser deletes cookie and storage."""
    visitor = Visit(app, consent=True)
    visitor.open("/you")
    visitor.post(movie_path(MOVIE, "/list"), wanted=1)
    visitor.post(f"/watch/{MOVIE}/0")
    assert visitor.send(visitor.event(), visitor.event("searched")).status == 202
    document = json.loads(visitor.open("/you/export").body)
    assert (len(document["events"]), len(document["positions"]), document["profile"]["list"]) == (2, 1, [MOVIE])
    reply = visitor.post("/you/forget")
    assert reply.headers["Clear-Site-Data"] == '"cookies", "storage", "cache"'
    assert "Max-Age=0" in reply.headers["Set-Cookie"]
    for name in ("devices", "positions", "events", "join_codes"):
        assert app.count(name, user_id=visitor.user_id) == 0
    assert app.count("profiles", _id=visitor.user_id) == 0


@pytest.mark.parametrize("path", ["/you/forget", "/you/consent", movie_path(MOVIE, "/rating"), "/api/events"])
def test_post_of_another_site_is_refused(app: App, path: str) -> None:
    """A page of another site, or of a sibling, cannot write for the user whose cookie the browser sends."""
    visitor = Visit(app, consent=True)
    for site in ("cross-site", "same-site"):
        assert visitor.post(path, site=site, rating=5).status == 403
    other = {"Cookie": visitor.cookie, "Origin": "http://127.0.0.1:1"}
    assert app.function.get(path, "POST", b"", **other).status == 403
    visitor.open("/you")
    assert len(app.movies.records_of(visitor.user_id)) == 1


def test_post_without_a_device_is_refused(app: App) -> None:
    """Without the cookie there is no user to write for."""
    assert Visit(app).post(movie_path(MOVIE, "/rating"), rating=5).status == 401
    stranger = Visit(app)
    stranger.cookie = "marquee=unknown"
    assert stranger.post("/you/forget").status == 401
    assert stranger.open("/you/export").status == 401


def test_every_reply_has_the_security_headers(app: App) -> None:
    """No inline script or style is allowed, no frame, and no foreign form."""
    for path in ("/", "/search", "/offline", "/nothing", "/sw.js", "/manifest.webmanifest"):
        headers = app.function.get(path).headers
        assert "require-trusted-types-for 'script'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    page = Visit(app).open("/").body.decode()
    assert not re.findall(r"<script(?![^>]* src=)|\son\w+=|style=", page)


def test_methods_and_sizes_are_limited(app: App) -> None:
    """Another method is 405 with those that are valid; a long body is 413."""
    assert app.function.get("/", "PUT").headers["Allow"] == "GET, HEAD, POST"
    assert app.function.get("/", "POST").headers["Allow"] == "GET, HEAD"
    assert app.function.get("/you/forget").status == 405
    assert app.function.get("/you/consent", "POST", b"x" * 70_000).status == 413


def test_static_files_are_immutable_and_versioned(app: App) -> None:
    """A page names the version of its files, and a script that of the scripts it imports."""
    page = app.function.get("/offline").body.decode()
    script = re.search(r'src="(/assets/app\.js\?v=(\w+))"', page)
    assert script
    reply = app.function.get(script[1])
    assert "immutable" in reply.headers["Cache-Control"]
    assert f"events.js?v={script[2]}" in reply.body.decode()
    assert f'"marquee-{script[2]}"' in app.function.get("/sw.js").body.decode()
    assert json.loads(app.function.get("/manifest.webmanifest").body)["display"] == "standalone"


def test_poster_is_the_same_svg_every_time(app: App) -> None:
    """A poster is well-formed, has the title, and runs nothing when it is opened as a page."""
    path = f"/poster/{MOVIE.replace('+', '%2B')}.svg"
    first, second = app.function.get(path), app.function.get(path)
    assert first.body == second.body
    texts = "".join(ElementTree.fromstring(first.body).itertext())
    assert MOVIE.split("+")[0].title() in texts
    assert first.headers["Content-Security-Policy"] == "default-src 'none'"


def test_asset_links_are_empty_without_certificates(app: App) -> None:
    """Without a package no package may open the links."""
    assert json.loads(app.function.get("/.well-known/assetlinks.json").body) == []


def test_healthz_needs_no_settings_and_head_has_no_body(app: App) -> None:
    """Liveness, and HEAD of a page."""
    assert app.function.get("/healthz").body == b"ok\n"
    connection = http.client.HTTPConnection("127.0.0.1", app.function.port, timeout=20)
    connection.request("HEAD", "/offline")
    assert connection.getresponse().status == 200
    connection.close()
