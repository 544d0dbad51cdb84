"""Copy of the served model's movie titles for the app's search, until the movie service has described each movie."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from marquee.app.documents import Documents
from marquee.app.movie_cache import MovieTitle, keep_titles
from marquee.db.pool import Database
from marquee.registry.item_factors import ItemFactors
from marquee.registry.item_store import read_items
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import find_serving_release

DEADLINE_MS, CHUNK = 60_000, 1_000
_PREFIX = "catalog "
_KNOWN = "SELECT count(*) FROM app_progress WHERE name = %s"
_FORGET = "DELETE FROM app_progress WHERE name LIKE %s"
_REMEMBER = "INSERT INTO app_progress (name, received) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING"


def update_catalog(database: Database, store: ObjectStore, documents: Documents, now: datetime) -> int:
    """Keep the titles of the model that serves, once for each model; return the number of new movies.

    Raises :class:`DocumentsUnavailable` and the errors of the object store; the next run begins again.
    """
    release = find_serving_release(store)
    if release is None:
        return 0
    name = _PREFIX + release.arms[0].version
    if database.read(_KNOWN, (name,), deadline_ms=DEADLINE_MS)[0][0]:
        return 0
    titles = list(_read_titles(read_items(store, release.arms[0].version)))
    added = sum(keep_titles(documents, titles[start : start + CHUNK], now) for start in range(0, len(titles), CHUNK))
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_FORGET, (_PREFIX + "%",))
        cursor.execute(_REMEMBER, (name, now))
    return added


def _read_titles(items: ItemFactors) -> Iterator[MovieTitle]:
    metadata = items.metadata
    for row, movie_id in enumerate(items.movie_ids):
        if title := metadata.title(row):
            yield MovieTitle(movie_id, title, metadata.year(row), metadata.genre_names(row))
