"""The catalogue and customer service that the real one runs beside its log: read-only, and rate-limited.

``GET /user/<id>`` and ``GET /movie/<id>``, or up to 200 ids joined with commas, in the formats of
the real service. One id is answered with an object, 404 if it is not known; several with a list of those
that are known. Above the rate the answer is 429 with Retry-After.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from marquee.config.csv_file import read_optional_csv
from marquee.simulate.catalogue import SyntheticCatalogue, runtime
from marquee.simulate.hashed_rng import seed_of

BULK = 200
OCCUPATIONS = [
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad+student",
    "customer+service",
    "doctor/health+care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12+student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
]
GENRES = [
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]

Row = Mapping[str, Any]
Find = Callable[[str], Row | None]


class People:
    """The customers: those of ``users.csv`` as they are there, and made ones for the other ids up to ``users``."""

    def __init__(self, seed: int, users: int, known: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._seed, self._users = seed, users
        self._known = known or {}

    def __call__(self, user_id: str) -> Row | None:
        if not (user_id.isascii() and user_id.isdigit()) or not 1 <= int(user_id) <= self._users:
            return None
        draw = seed_of(self._seed, "customer", user_id)
        made = {
            "user_id": int(user_id),
            "age": 8 + draw % 83,
            "occupation": OCCUPATIONS[(draw >> 8) % len(OCCUPATIONS)].replace("+", " "),
            "gender": "FM"[(draw >> 16) & 1],
            "self_description_likes": _says("I enjoy", draw >> 24),
            "self_description_dislikes": _says("I cannot stand", draw >> 40),
        }
        row = self._known.get(user_id)
        if row is not None:
            made |= {"age": int(row["age"]), "occupation": row["occupation"], "gender": row["gender"]}
        return made


class Movies:
    """The catalogue: movies of ``movies.csv``, or made ones. What nobody here needs is empty, in its own type."""

    def __init__(
        self,
        seed: int,
        catalogue: SyntheticCatalogue | None,
        known: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._seed, self._catalogue, self._known = seed, catalogue, known or {}

    def __call__(self, movie_id: str) -> Row | None:
        row = self._known.get(movie_id)
        if row is None and (self._catalogue is None or self._catalogue.number(movie_id) is None):
            return None
        draw = seed_of(self._seed, "movie", movie_id)
        title = row["title"] if row else movie_id.replace("+", " ").strip().title()
        genres = row["genres"].split("|") if row else [GENRES[draw % len(GENRES)]]
        year = row["year"] if row else movie_id[-4:]
        return {
            **_EMPTY,
            "id": movie_id,
            "tmdb_id": draw % 1_000_000,
            "imdb_id": f"tt{draw % 10_000_000:07d}",
            "title": title,
            "original_title": title,
            "genres": [{"id": 1 + _genre_number(name), "name": name} for name in genres if name],
            "release_date": f"{year}-01-01" if year.isdigit() else None,
            "runtime": runtime(movie_id, self._seed),
            "cost": round(0.01 + (draw >> 20) % 100 / 100, 2),
        }


_EMPTY: Row = {
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
    """Both tables over HTTP, ``per_second`` calls at most (0: any number). An async context manager."""

    def __init__(
        self,
        people: Find,
        movies: Find,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        per_second: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables: dict[str, Find] = {"user": people, "movie": movies}
        self._host, self._port = host, port
        self._per_second, self._clock = per_second, clock
        self._allowance, self._checked = per_second, clock()
        self.calls = 0
        self.refused = 0

    async def __aenter__(self) -> MovieService:
        app = web.Application()
        app.router.add_get("/{kind:user|movie}/{ids}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self._host}:{self._port}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.calls += 1
        if not self._allowed():
            self.refused += 1
            return web.json_response(
                {"message": "too many requests"}, status=429, headers={"Retry-After": "1"}
            )
        kind, ids = request.match_info["kind"], request.match_info["ids"].split(",")
        if len(ids) > BULK:
            return web.json_response({"message": f"at most {BULK} ids"}, status=400)
        found = [row for row in map(self._tables[kind], ids) if row is not None]
        if len(ids) > 1:
            return web.json_response(found)
        if not found:
            return web.json_response({"message": f"{kind} not found"}, status=404)
        return web.json_response(found[0])

    def _allowed(self) -> bool:
        """A bucket that fills at the rate and holds a second's worth."""
        if not self._per_second:
            return True
        now = self._clock()
        filled = self._allowance + (now - self._checked) * self._per_second
        self._allowance, self._checked = min(max(self._per_second, 1.0), filled), now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


def read_table(path: Path, key: str) -> dict[str, Mapping[str, str]]:
    """Read the CSV file ``path`` as rows by their ``key``; empty if there is no such file."""
    return {row[key]: row for row in read_optional_csv(path)}


def _says(beginning: str, draw: int) -> str | None:
    """Every other customer says something."""
    if draw & 1:
        return None
    names = {GENRES[(draw >> shift) % len(GENRES)].lower() for shift in (1, 6)}
    return f"{beginning} {' and '.join(sorted(names))} movies."


def _genre_number(name: str) -> int:
    return GENRES.index(name) if name in GENRES else len(GENRES)
