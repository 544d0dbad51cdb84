"""Metadata of movies from the movie service, in bulk, with a cache in the object store.

The service describes movies by id (``GET /movie/<id>,<id>...``) and lists none. A retraining asks for the movies that
its data name. It never waits longer than a deadline, and a service that is slow, away or wrong costs it the
metadata that the cache does not have, not the run.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from marquee.config.http_client import HttpClient, HttpResponse, retry_after_s
from marquee.config.plausible_values import YEARS, is_within
from marquee.config.rate_limit import CallLimiter
from marquee.errors import MovieServiceUnavailable, ObjectNotFound, ObjectStoreError, PreconditionFailed, TransientError
from marquee.registry.json_document import MalformedDocument, decode_json
from marquee.registry.object_store.object_store import ObjectStore, Version

CACHE = "catalog/movies.json"
DEADLINE_S = 120.0
REQUESTS_PER_S = 5.0
_TIMEOUT_S = 10.0
_MAX_IDS, _MAX_PATH = 200, 6_000  # Of one request; web servers refuse paths from 8 KB on.
_MAX_BYTES = 16 << 20
_ATTEMPTS, _MAX_FAILURES = 3, 3
_MAX_PAUSE_S = 10.0
_MAX_TEXT = 500
_FRESH, _FRESH_UNKNOWN = timedelta(days=7), timedelta(days=1)
_CLOCKS_DIFFER = timedelta(hours=1)

_log = logging.getLogger(__name__)


class CatalogEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of the service about one movie at ``read``: columns of ``movies.csv``, or None for an unknown movie."""

    read: Annotated[datetime, msgspec.Meta(tz=True)]
    row: dict[str, str] | None = None


class CatalogAnswer(msgspec.Struct, frozen=True):
    """Rows of the known movies by id, and counts: movies ``asked``, ``known``, ``cached``, ``malformed``, ``missing``.

    ``asked``: those that the cache lacks or has from long ago. ``missing``: those of which nothing could be learned.
    """

    rows: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}


class _Named(msgspec.Struct, frozen=True):
    name: str = ""
    iso_3166_1: str = ""


class _ServiceMovie(msgspec.Struct, frozen=True):
    """A movie in the service's format; other fields are ignored."""

    id: str
    title: str | None = None
    genres: list[_Named] | None = None
    original_language: str | None = None
    release_date: str | None = None
    adult: str | bool | None = None
    production_countries: list[_Named] | None = None
    cost: float | str | None = None


class CatalogFeed:
    """The movie service at ``url``, with a cache in ``store`` that all retrainings share."""

    def __init__(
        self,
        url: str,
        store: ObjectStore | None,
        *,
        deadline_s: float = DEADLINE_S,
        requests_per_s: float = REQUESTS_PER_S,
        timeout_s: float = _TIMEOUT_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._http = HttpClient(url, timeout_s=timeout_s, max_bytes=_MAX_BYTES)
        self._limiter = CallLimiter(requests_per_s)
        self._store, self._deadline_s, self._clock = store, deadline_s, clock

    def read(self, movie_ids: Sequence[str]) -> CatalogAnswer:
        """Return what is known of the movies: from the service, or from the cache if it is fresh or nothing is newer.

        Never raises for a fault of the service or of the cache; a warning says what is missing.
        """
        now = self._clock()
        before, version = self._read_cache()
        due = [id_ for id_ in movie_ids if _is_due(before.get(id_), now)]
        # New movies first, then the oldest entries: after a deadline the next run continues.
        due.sort(key=lambda id_: (id_ in before, before[id_].read if id_ in before else now, id_))
        found, malformed, fault = self._ask(due, now)
        if fault:
            _log.warning("the movie service described %d of %d movies: %s", len(found), len(due), fault)
        cache = {**before, **found}
        if found:
            self._write_cache(cache, version, now)
        rows = {id_: row for id_ in movie_ids if (entry := cache.get(id_)) and (row := entry.row) is not None}
        counts = {
            "asked": len(due),
            "known": len(rows),
            "cached": sum(id_ in cache and id_ not in found for id_ in movie_ids),
            "malformed": malformed,
            "missing": sum(id_ not in cache for id_ in movie_ids),
        }
        return CatalogAnswer(rows, counts)

    def _ask(self, movie_ids: list[str], now: datetime) -> tuple[dict[str, CatalogEntry], int, str]:
        """Return the answers until the deadline, the number of malformed ones, and what went wrong.

        A socket's timeout does not bound an answer that trickles in, so a thread reads and may be left behind.
        """
        requests = _Requests(self._http, self._limiter, movie_ids, now)
        thread = threading.Thread(target=requests.run, name="catalog", daemon=True)
        thread.start()
        thread.join(self._deadline_s)
        requests.stopped.set()
        fault = f"the deadline of {self._deadline_s:g} s has passed" if thread.is_alive() else requests.fault
        return dict(requests.found), requests.malformed, fault

    def _read_cache(self) -> tuple[dict[str, CatalogEntry], Version | None]:
        try:
            stored = self._store.get(CACHE) if self._store else None
        except ObjectNotFound:
            stored = None
        except (TransientError, ObjectStoreError) as error:
            _log.warning("the cache %s cannot be read, all movies are asked for again: %s", CACHE, error)
            stored = None
        if stored is None:
            return {}, None
        try:
            return decode_json(stored.data, dict[str, CatalogEntry]), stored.version
        except MalformedDocument as error:
            _log.warning("the cache %s is damaged and made again: %s", CACHE, error)
            return {}, stored.version

    def _write_cache(self, cache: dict[str, CatalogEntry], version: Version | None, now: datetime) -> None:
        """Replace the cache, unless a concurrent retraining has; old entries of unknown movies are dropped."""
        kept = {id_: entry for id_, entry in cache.items() if entry.row is not None or now - entry.read < _FRESH}
        try:
            if self._store is not None:
                self._store.replace(CACHE, msgspec.json.encode(kept, order="sorted"), version)
        except PreconditionFailed:
            _log.info("the cache %s was written by another retraining", CACHE)
        except (TransientError, ObjectStoreError) as error:
            _log.warning("the cache %s cannot be written: %s", CACHE, error)


class _Requests:
    """Requests for movies one after another; ``found`` grows with each answer."""

    def __init__(self, http: HttpClient, limiter: CallLimiter, movie_ids: list[str], now: datetime) -> None:
        self._http, self._limiter, self._movie_ids, self._now = http, limiter, movie_ids, now
        self.found: dict[str, CatalogEntry] = {}
        self.malformed = 0
        self.fault = ""
        self.stopped = threading.Event()

    def run(self) -> None:
        """Ask for all movies, until stopped or until several requests in a row have failed."""
        try:
            self._run()
        finally:
            self._http.close()

    def _run(self) -> None:
        failures = 0
        for batch in _batches(self._movie_ids):
            try:
                rows = self._read(batch)
                failures = 0
            except MovieServiceUnavailable as error:
                self.fault, failures = str(error), failures + 1
                if failures == _MAX_FAILURES or self.stopped.is_set():
                    return
                continue
            if self.stopped.is_set():
                return
            # One assignment: the waiting thread may copy the dictionary at any time.
            self.found = {**self.found, **{id_: CatalogEntry(self._now, row) for id_, row in rows.items()}}

    def _read(self, batch: list[str]) -> dict[str, dict[str, str] | None]:
        """Return the row of each movie of the batch, None for an unknown one; malformed ones are left out."""
        response = self._get("/movie/" + ",".join(quote(id_, safe="") for id_ in batch))
        if response.status == 404:
            return dict.fromkeys(batch)
        try:
            answer = decode_json(response.body, Any)
        except MalformedDocument as error:
            raise MovieServiceUnavailable(f"its answer is no JSON: {error}") from error
        documents = answer if isinstance(answer, list) else [answer]
        rows: dict[str, dict[str, str] | None] = {}
        names = {_identify(document): document for document in documents}
        for id_ in batch:
            if id_ not in names:
                rows[id_] = None
                continue
            try:
                rows[id_] = _describe(msgspec.convert(names[id_], _ServiceMovie))
            except msgspec.ValidationError:
                self.malformed += 1
        if documents and not names.keys() & set(batch):
            raise MovieServiceUnavailable("its answer has none of the movies that were asked for")
        return rows

    def _get(self, path: str) -> HttpResponse:
        """Return an answer with status 200 or 404; ask again after a refusal or a fault, within the rate limit."""
        for attempt in itertools.count(1):
            while (wait_s := self._limiter.take("")) and not self.stopped.wait(wait_s):
                pass
            pause_s = float(attempt)
            try:
                response = self._http.request("GET", path)
                if response.status in (200, 404):
                    return response
                fault = f"status {response.status}"
                pause_s = retry_after_s(response) or pause_s
            except TransientError as error:
                fault = str(error)
            if attempt == _ATTEMPTS or self.stopped.wait(min(pause_s, _MAX_PAUSE_S)):
                break
        raise MovieServiceUnavailable(fault)


def _is_due(entry: CatalogEntry | None, now: datetime) -> bool:
    if entry is None:
        return True
    age = now - entry.read
    # A clock that was ahead wrote an entry from the future.
    return age >= (_FRESH_UNKNOWN if entry.row is None else _FRESH) or age < -_CLOCKS_DIFFER


def _batches(movie_ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield the ids in batches that fit one request."""
    batch: list[str] = []
    length = 0
    for movie_id in movie_ids:
        own = len(quote(movie_id, safe="")) + 1
        if batch and (len(batch) == _MAX_IDS or length + own > _MAX_PATH):
            yield batch
            batch, length = [], 0
        batch.append(movie_id)
        length += own
    if batch:
        yield batch


def _identify(document: Any) -> str:
    found = document.get("id") if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""


def _describe(movie: _ServiceMovie) -> dict[str, str]:
    """Return the columns of ``movies.csv`` that are known."""
    year = (movie.release_date or "")[:4]
    row = {
        "title": _clean(movie.title or ""),
        "year": year if year.isascii() and year.isdecimal() and is_within(int(year), YEARS) else "",
        "genres": "|".join(_clean(genre.name).replace("|", " ") for genre in movie.genres or () if genre.name),
        "language": _clean(movie.original_language or ""),
        "countries": "|".join(_clean(c.iso_3166_1) for c in movie.production_countries or () if c.iso_3166_1),
        "adult": str(movie.adult) if str(movie.adult).lower() == "true" else "",
        "cost": "" if movie.cost is None else _clean(str(movie.cost)),
    }
    return {name: value for name, value in row.items() if value}


def _clean(text: str) -> str:
    """Return one line of printable text of bounded length."""
    printable = "".join(character if character.isprintable() else " " for character in text[:_MAX_TEXT])
    return " ".join(printable.split())
