"""A simulation of the external customer and movie service, with a rate limit.

``GET /user/<id>`` and ``GET /movie/<id>`` accept one id, or up to 200 ids joined with commas, in the formats
of the real service. The response to one id is an object, or 404 if the id is unknown. The response to several
is a list of the known ones. Above the rate limit the response is 429 with ``Retry-After``.
The requests of users are in :mod:`marquee.simulate.user_requests`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from marquee.config.movielens_names import GENRES, OCCUPATIONS
from marquee.config.rate_limit import CallLimiter
from marquee.simulate.catalog import SyntheticCatalog, runtime_minutes
from marquee.simulate.hashed_rng import derive_seed
from marquee.simulate.user_requests import UserRequests

MAX_IDS = 200
_OCCUPATIONS = tuple("academic/educator" if name == "educator" else name for name in OCCUPATIONS)

Row = Mapping[str, Any]
Lookup = Callable[[str], Row | None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CustomerTable:
    """The customers: those of ``users.csv``, and synthetic ones for the other ids from 1 to ``max_id``."""

    def __init__(self, seed: int, max_id: int, known: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._seed, self._max_id, self._known = seed, max_id, known or {}

    def __call__(self, user_id: str) -> Row | None:
        """Return the customer, or None if the id is unknown."""
        if not (user_id.isascii() and user_id.isdigit()) or not 1 <= int(user_id) <= self._max_id:
            return None
        draw = derive_seed(self._seed, "customer", user_id)
        customer = {
            "user_id": int(user_id),
            "age": 8 + draw % 83,
            "occupation": _OCCUPATIONS[(draw >> 8) % len(_OCCUPATIONS)],
            "gender": "FM"[(draw >> 16) & 1],
            "self_description_likes": _describe_genres("I enjoy", draw >> 24),
            "self_description_dislikes": _describe_genres("I cannot stand", draw >> 40),
        }
        row = self._known.get(user_id)
        if row is not None:
            customer["age"] = int(row["age"]) if row.get("age") else None
            customer |= {name: row.get(name, "") for name in ("occupation", "gender")}
        return customer


class MovieTable:
    """The movies of ``movies.csv``, or synthetic ones. Fields that no client uses are empty."""

    def __init__(
        self,
        seed: int,
        catalog: SyntheticCatalog | None,
        known: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._seed, self._catalog, self._known = seed, catalog, known or {}

    def __call__(self, movie_id: str) -> Row | None:
        """Return the movie, or None if the id is unknown."""
        row = self._known.get(movie_id)
        if row is None and (self._catalog is None or self._catalog.movie_number(movie_id) is None):
            return None
        draw = derive_seed(self._seed, "movie", movie_id)
        if row is None:
            row = {"genres": GENRES[draw % len(GENRES)], "year": movie_id[-4:]}
        title = row.get("title") or movie_id.replace("+", " ").strip().title()
        genres = row.get("genres", "").split("|")
        year = row.get("year", "")
        return {
            **_UNUSED_FIELDS,
            "id": movie_id,
            "tmdb_id": draw % 1_000_000,
            "imdb_id": f"tt{draw % 10_000_000:07d}",
            "title": title,
            "original_title": title,
            "genres": [{"id": 1 + _genre_number(name), "name": name} for name in genres if name],
            "release_date": f"{year}-01-01" if year.isdigit() else None,
            "runtime": runtime_minutes(movie_id, self._seed),
            "cost": round(0.01 + (draw >> 20) % 100 / 100, 2),
        }


_UNUSED_FIELDS: Row = {
    "adult": "False",
    "belongs_to_collection": {},
    "budget": "0",
    "homepage": "null",
    "original_language": "en",
    "overview": "",
    "popularity": "0",
    "poster_path": "",
    "production_companies": [],
    "production_countries": [],
    "revenue": "0",
    "spoken_languages": [],
    "status": "Released",
    "vote_average": "0",
    "vote_count": "0",
}


class MovieService:
    """An asynchronous context manager that serves both tables over HTTP.

    ``requests_per_second`` is the rate limit; 0: none. Without ``users`` it is read-only.
    """

    def __init__(
        self,
        customers: Lookup,
        movies: Lookup,
        *,
        users: UserRequests | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        requests_per_second: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables: dict[str, Lookup] = {"user": customers, "movie": movies}
        self._users = users
        self._host, self._port = host, port
        self._limiter = CallLimiter(requests_per_second, clock)
        self.requests = 0
        self.refused = 0

    async def __aenter__(self) -> MovieService:
        app = web.Application(middlewares=[self._limit])
        app.router.add_get("/{kind:user|movie}/{ids}", self._answer)
        if self._users:
            self._users.add_routes(app.router)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self._host}:{self._port}"

    @web.middleware
    async def _limit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests += 1
        if self._limiter.take(""):
            self.refused += 1
            return web.json_response({"message": "too many requests"}, status=429, headers={"Retry-After": "1"})
        return await handler(request)

    async def _answer(self, request: web.Request) -> web.Response:
        kind, ids = request.match_info["kind"], request.match_info["ids"].split(",")
        if len(ids) > MAX_IDS:
            return web.json_response({"message": f"at most {MAX_IDS} ids"}, status=400)
        rows = [row for row in map(self._tables[kind], ids) if row is not None]
        if len(ids) > 1:
            return web.json_response(rows)
        if not rows:
            return web.json_response({"message": f"{kind} not found"}, status=404)
        return web.json_response(rows[0])


def _describe_genres(opening: str, draw: int) -> str | None:
    """Return a self-description for every other draw, and None for the rest."""
    if draw & 1:
        return None
    names = {GENRES[(draw >> shift) % len(GENRES)].lower() for shift in (1, 6)}
    return f"{opening} {' and '.join(sorted(names))} movies."


def _genre_number(name: str) -> int:
    return GENRES.index(name) if name in GENRES else len(GENRES)
