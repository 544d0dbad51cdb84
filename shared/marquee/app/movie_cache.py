"""Cache of movie descriptions from the movie service, in memory and in MongoDB, and the search in it."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from pymongo import DESCENDING, UpdateOne

from marquee.app.devices import utc_now
from marquee.app.documents import Document, Documents
from marquee.app.movie_service_client import MAX_IDS, Movie, MovieServiceClient, read_movie
from marquee.config.opaque_ids import is_valid_id
from marquee.errors import DocumentsRefused, DocumentsUnavailable, MovieServiceUnavailable

IN_MEMORY = 5_000
"""Number of most recently used movies that a process keeps in memory."""
_MAX_WORDS = 6
_FIELDS = dict.fromkeys(Movie.__struct_fields__, 1)


class MovieTitle(msgspec.Struct, frozen=True):
    """Title, year and other attributes of a movie, from the metadata of a model."""

    movie_id: str
    title: str
    year: int | None = None
    genres: tuple[str, ...] = ()


class MovieCache:
    """The movies requested so far. Levels of the cache that are unavailable are skipped."""

    def __init__(self, documents: Documents, service: MovieServiceClient) -> None:
        self._documents, self._service = documents, service
        self._lock = threading.Lock()
        self._memory: OrderedDict[str, Movie] = OrderedDict()

    def find(self, movie_ids: Iterable[str]) -> dict[str, Movie]:
        """Return the known movies by id: from memory, then from MongoDB, then from the movie service."""
        wanted = [movie_id for movie_id in dict.fromkeys(movie_ids) if is_valid_id(movie_id)]
        found = self._recall(wanted)
        for read in (self._read_documents, self._ask_service):
            missing = [movie_id for movie_id in wanted if movie_id not in found]
            if missing:
                found |= self._remember(read(missing))
        return found

    def find_one(self, movie_id: str) -> Movie | None:
        """Return one movie, or None if there is no such movie.

        Raises :class:`MovieServiceUnavailable` if this cannot be determined now.
        """
        if movie := self.find([movie_id]).get(movie_id):
            return movie
        if is_valid_id(movie_id):
            return next((told for told in self._service.read_movies([movie_id]) if told.id == movie_id), None)
        return None

    def search(self, text: str, limit: int = 30) -> list[Movie]:
        """Return movies whose titles have words that begin with the words of ``text``.

        Raises :class:`DocumentsUnavailable`.
        """
        wanted = split_words(text)[:_MAX_WORDS]
        if not wanted:
            return []
        clauses = [{"words": {"$regex": "^" + re.escape(word)}} for word in wanted]
        with self._documents.collection("movies") as movies:
            return _decode_all(movies.find({"$and": clauses}, _FIELDS).limit(limit))

    def newest(self, limit: int) -> list[Movie]:
        """Return the ``limit`` movies released most recently. Raises :class:`DocumentsUnavailable`."""
        # A date far ahead, such as 9999-12-31, is a placeholder.
        dated = {"release_date": {"$type": "string", "$lte": f"{utc_now().year + 1}-12-31"}}
        with self._documents.collection("movies") as movies:
            return _decode_all(movies.find(dated, _FIELDS).sort("release_date", DESCENDING).limit(limit))

    def recall_any(self, limit: int) -> list[Movie]:
        """Return up to ``limit`` movies that this process used most recently."""
        with self._lock:
            return list(reversed(self._memory.values()))[:limit]

    def _recall(self, movie_ids: Sequence[str]) -> dict[str, Movie]:
        with self._lock:
            found = {movie_id: self._memory[movie_id] for movie_id in movie_ids if movie_id in self._memory}
            for movie_id in found:
                self._memory.move_to_end(movie_id)
        return found

    def _remember(self, movies: Iterable[Movie]) -> dict[str, Movie]:
        by_id = {movie.id: movie for movie in movies}
        with self._lock:
            self._memory.update(by_id)
            while len(self._memory) > IN_MEMORY:
                self._memory.popitem(last=False)
        return by_id

    def _read_documents(self, movie_ids: list[str]) -> list[Movie]:
        try:
            with self._documents.collection("movies") as movies:
                described = {"_id": {"$in": movie_ids}, "title_only": {"$exists": False}}
                return _decode_all(movies.find(described, _FIELDS))
        except (DocumentsUnavailable, DocumentsRefused):
            return []

    def _ask_service(self, movie_ids: list[str]) -> list[Movie]:
        try:
            return fetch_movies(self._documents, self._service, movie_ids)
        except MovieServiceUnavailable:
            return []


def fetch_movies(documents: Documents, service: MovieServiceClient, movie_ids: Sequence[str]) -> list[Movie]:
    """Return movies from the movie service, and store them in MongoDB if it is available.

    Raises :class:`MovieServiceUnavailable`.
    """
    told: list[Movie] = []
    for start in range(0, len(movie_ids), MAX_IDS):
        told += service.read_movies(list(movie_ids[start : start + MAX_IDS]))
    if told:
        now = utc_now()
        try:
            with documents.collection("movies") as movies:
                movies.bulk_write([_upsert(movie, now) for movie in told], ordered=False)
        except (DocumentsUnavailable, DocumentsRefused):
            pass  # The next process requests them again.
    return told


def keep_titles(documents: Documents, titles: Sequence[MovieTitle], now: datetime) -> int:
    """Store the titles that MongoDB lacks, for the search; return the number of new ones.

    Raises :class:`DocumentsUnavailable`.
    """
    updates = []
    for movie in titles:
        values: Document = {
            "title": movie.title,
            "words": split_words(movie.title),
            "genres": [{"name": name} for name in movie.genres],
            "release_date": f"{movie.year:04}-01-01" if movie.year else None,
            "title_only": True,
            "told": now,
        }
        updates.append(UpdateOne({"_id": movie.movie_id}, {"$setOnInsert": values}, upsert=True))
    if not updates:
        return 0
    with documents.collection("movies") as movies:
        return int(movies.bulk_write(updates, ordered=False).upserted_count)


def split_words(text: str) -> list[str]:
    """Return the words of ``text`` in lower case and without accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", plain)


def _upsert(movie: Movie, now: datetime) -> UpdateOne:
    values: Document = msgspec.to_builtins(movie)
    del values["id"]
    values |= {"words": split_words(movie.title), "told": now}
    return UpdateOne({"_id": movie.id}, {"$set": values, "$unset": {"title_only": ""}}, upsert=True)


def _decode_all(rows: Iterable[Document]) -> list[Movie]:
    """Return the movies; a document that is none is left out, so that the movie service is asked again."""
    return [movie for row in rows if (movie := read_movie(row | {"id": row["_id"]}))]
