"""Client of the movie service: its catalog, and the requests that it logs as users' events.

| request | event of the log |
|---|---|
| ``GET /create_account`` | account |
| ``GET /data/m/<movie_id>/<minute>.mpg`` | watch |
| ``GET /rate/<movie_id>=<rating>`` | rating |

The header ``User-Id`` names the user of a watch or a rating.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from marquee.config.http_client import HttpClient, HttpResponse
from marquee.config.plausible_values import RUNTIMES, YEARS, is_within
from marquee.errors import MovieServiceUnavailable, RequestFailed

T = TypeVar("T")

MAX_IDS = 200
TIMEOUT_S = 0.8


class Genre(msgspec.Struct, frozen=True):
    """A genre of a movie."""

    name: str


class Movie(msgspec.Struct, frozen=True):
    """A movie as the app shows it."""

    id: str
    title: str
    genres: tuple[Genre, ...] = ()
    release_date: str | None = None
    runtime: int | None = None
    overview: str = ""

    @property
    def year(self) -> str:
        """The year of release; empty if unknown or implausible."""
        year = (self.release_date or "")[:4]
        return year if year.isascii() and year.isdecimal() and is_within(int(year), YEARS) else ""

    @property
    def minutes(self) -> int:
        """The length in minutes; a typical length if unknown or implausible."""
        return self.runtime if self.runtime is not None and is_within(self.runtime, RUNTIMES) else 90

    @property
    def genre_names(self) -> tuple[str, ...]:
        """The names of the genres."""
        return tuple(genre.name for genre in self.genres)


class _MovieDocument(msgspec.Struct):
    """A movie as it is written; all but its id and title may be malformed."""

    id: str
    title: str
    genres: Any = None
    release_date: Any = None
    runtime: Any = None
    overview: Any = None


def read_movie(document: object) -> Movie | None:
    """Return the movie without malformed attributes; None if ``document`` has no id and title."""
    try:
        raw = msgspec.convert(document, _MovieDocument)
    except msgspec.ValidationError:
        return None
    genres = raw.genres if isinstance(raw.genres, list) else []
    names = [genre.get("name") for genre in genres if isinstance(genre, dict)]
    return Movie(
        raw.id,
        raw.title,
        tuple(Genre(name) for name in names if isinstance(name, str) and name),
        raw.release_date if isinstance(raw.release_date, str) else None,
        int(raw.runtime) if isinstance(raw.runtime, int | float) and is_within(raw.runtime, RUNTIMES) else None,
        raw.overview if isinstance(raw.overview, str) else "",
    )


class _Account(msgspec.Struct, frozen=True):
    user_id: int


_decode_account = msgspec.json.Decoder(_Account).decode


class MovieServiceClient:
    """The movie service at ``url``. All methods raise :class:`MovieServiceUnavailable`."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._http = HttpClient(url, timeout_s=timeout_s)

    def read_movies(self, movie_ids: list[str]) -> list[Movie]:
        """Return the movies that the service knows among at most :data:`MAX_IDS`."""
        if not movie_ids:
            return []
        response = self._get("/movie/" + ",".join(quote(movie_id, safe="") for movie_id in movie_ids))
        if response.status == 404:
            return []
        answer = self._decoded(msgspec.json.decode, self._check(response).body)
        listed = answer if isinstance(answer, list) else [answer]
        movies = [movie for document in listed if (movie := read_movie(document))]
        if listed and not movies:
            raise MovieServiceUnavailable(f"the movie service answered without a movie: {listed[0]!a:.80}")
        return movies

    def create_account(self) -> str:
        """Create an account; return its user id."""
        return str(self._decoded(_decode_account, self._check(self._get("/create_account")).body).user_id)

    def watch(self, user_id: str, movie_id: str, minute: int) -> bool:
        """Request one minute of a movie; return False if there is no such minute."""
        return self._log(user_id, f"/data/m/{quote(movie_id, safe='')}/{minute}.mpg")

    def rate(self, user_id: str, movie_id: str, rating: float) -> bool:
        """Rate a movie; return False if the movie or the rating is invalid."""
        return self._log(user_id, f"/rate/{quote(movie_id, safe='')}={rating:g}")

    def _log(self, user_id: str, path: str) -> bool:
        response = self._get(path, user_id)
        if response.status in (400, 404):
            return False
        self._check(response)
        return True

    def _get(self, path: str, user_id: str = "") -> HttpResponse:
        try:
            return self._http.request("GET", path, headers={"User-Id": user_id} if user_id else {})
        except RequestFailed as error:
            raise MovieServiceUnavailable(f"the movie service did not answer: {error}") from error

    def _check(self, response: HttpResponse) -> HttpResponse:
        if response.status != 200:
            raise MovieServiceUnavailable(f"the movie service answered with status {response.status}, not 200")
        return response

    def _decoded(self, decode: Callable[[bytes], T], body: bytes) -> T:
        try:
            return decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MovieServiceUnavailable(f"the movie service answered with an unexpected document: {error}") from error
