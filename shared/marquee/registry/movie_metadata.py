"""Metadata of an artifact's movies: titles, and the attributes that rules ask for."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import TypeVar

import msgspec

from marquee.config.plausible_values import MAX_COST, YEARS, is_within
from marquee.errors import ArtifactRefused
from marquee.registry.json_document import MalformedDocument, decode_json

METADATA = "movies.json"
UNKNOWN_AGE, UNKNOWN_COST, UNKNOWN_YEAR = -1, -1.0, 0
ADULT_AGE = 18
_AGE_BY_CERTIFICATE = {
    "g": 0, "u": 0, "tv-y": 0, "tv-g": 0, "pg": 8, "tv-y7": 7, "tv-pg": 8, "pg-13": 13, "tv-14": 14,
    "r": 17, "tv-ma": 17, "nc-17": 18, "x": 18,
}  # fmt: skip
"""Minimum age by certificate: those of the MPA and of television in the United States, and the British U."""

T = TypeVar("T")


class MovieMetadata(msgspec.Struct, frozen=True, eq=False):
    """One value for each movie, in the order of the rows; a column of which nothing is known is empty.

    ``genres`` and ``countries`` (ISO 3166, lower case) are joined by ``|``; ``languages``: code of the original
    language. ``ages``: least age of a viewer, -1 if unknown. ``costs``: license fee per view, -1 if unknown. An
    unknown year is 0, an unknown text "".
    """

    titles: tuple[str, ...] = ()
    years: tuple[int, ...] = ()
    genres: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    ages: tuple[int, ...] = ()
    costs: tuple[float, ...] = ()

    def check(self, n_items: int) -> None:
        """Raise :class:`ArtifactRefused` unless each column has ``n_items`` valid values or none."""
        for name in self.__struct_fields__:
            if len(getattr(self, name)) not in (0, n_items):
                raise ArtifactRefused(f"{METADATA}: {name} has {len(getattr(self, name))} values, not {n_items} or 0")
        if self.costs and not all(map(isfinite, self.costs)):
            raise ArtifactRefused(f"{METADATA}: costs contains numbers that are not finite")
        if max(self.costs, default=0.0) > MAX_COST:
            raise ArtifactRefused(f"{METADATA}: a cost lies beyond {MAX_COST:g}")
        if max(map(abs, (*self.years, *self.ages)), default=0) > 10_000:
            raise ArtifactRefused(f"{METADATA}: a year or an age lies beyond 10,000")

    def title(self, row: int) -> str | None:
        """Return the title of a row, None if it is unknown."""
        return (self.titles[row] or None) if self.titles else None

    def year(self, row: int) -> int | None:
        """Return the year of a row, None if it is unknown."""
        return (self.years[row] or None) if self.years else None

    def genre_names(self, row: int) -> tuple[str, ...]:
        """Return the genres of a row, empty if they are unknown."""
        return _split_genres(self.genres[row]) if self.genres else ()


@lru_cache(4_096)
def _split_genres(text: str) -> tuple[str, ...]:
    return tuple(text.split("|")) if text else ()


NO_METADATA = MovieMetadata()


class MetadataFile:
    """Metadata as they are stored, verified by their hash and decoded when they are first needed.

    Decoding takes half as long as loading the vectors, and the first answers do without. Safe to share between threads.
    """

    def __init__(self, data: bytes | memoryview, n_items: int) -> None:
        self._data: bytes | memoryview = data
        self._n_items = n_items
        self._lock = threading.Lock()
        self._metadata: MovieMetadata | None = None

    def read(self) -> MovieMetadata:
        """Return the metadata. Raises :class:`ArtifactRefused` if they are not valid."""
        with self._lock:
            if self._metadata is None:
                self._metadata = self._decode()
                self._data = b""
            return self._metadata

    def _decode(self) -> MovieMetadata:
        if not self._data:
            return NO_METADATA
        try:
            metadata = decode_json(self._data, MovieMetadata)
        except MalformedDocument as error:
            raise ArtifactRefused(f"{METADATA} cannot be read: {error}") from error
        metadata.check(self._n_items)
        return metadata


NO_FILE = MetadataFile(b"", 0)


def collect_metadata(movie_ids: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> MovieMetadata:
    """Return the metadata of ``movie_ids`` from rows of text by movie id, such as those of ``movies.csv``.

    Columns: title, year, genres, language (or original_language), countries (or country), age_rating (an age or a
    certificate such as PG-13), adult (true counts as 18) and cost. A value that cannot be read counts as unknown.
    """
    known = [rows.get(movie_id, {}) for movie_id in movie_ids]
    return MovieMetadata(
        titles=_column((row.get("title", "").strip() for row in known), ""),
        years=_column((_parse_year(row.get("year", "")) for row in known), UNKNOWN_YEAR),
        genres=_column((_join(row.get("genres", "")) for row in known), ""),
        languages=_column(((row.get("language") or row.get("original_language", "")).lower() for row in known), ""),
        countries=_column((_join(row.get("countries") or row.get("country", "")).lower() for row in known), ""),
        ages=_column(map(_parse_age, known), UNKNOWN_AGE),
        costs=_column((_parse_cost(row.get("cost", "")) for row in known), UNKNOWN_COST),
    )


def _column(values: Iterable[T], unknown: T) -> tuple[T, ...]:
    column = tuple(values)
    return column if any(value != unknown for value in column) else ()


def _join(text: str) -> str:
    return "|".join(name.strip() for name in text.split("|") if name.strip())


def _parse_year(text: str) -> int:
    is_year = text.isascii() and text.isdecimal() and len(text) == 4 and is_within(int(text), YEARS)
    return int(text) if is_year else UNKNOWN_YEAR


def _parse_age(row: Mapping[str, str]) -> int:
    text = row.get("age_rating", "").strip().lower()
    age = int(text) if text.isascii() and text.isdecimal() and len(text) < 3 else _AGE_BY_CERTIFICATE.get(text)
    is_adult = row.get("adult", "").strip().lower() in ("true", "1", "yes")
    return max(UNKNOWN_AGE if age is None else age, ADULT_AGE if is_adult else UNKNOWN_AGE)


def _parse_cost(text: str) -> float:
    try:
        cost = float(text)
    except ValueError:
        return UNKNOWN_COST
    return cost if is_within(cost, (0, MAX_COST)) else UNKNOWN_COST
