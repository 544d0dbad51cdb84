"""Export of all data held about one user, as one JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marquee.config import base_data
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader, list_marks
from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.privacy import learned_models, personal_tables
from marquee.registry.item_store import read_items
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.user_store import UserStore


def export_held(
    database: Database,
    store: ObjectStore | None,
    key: str,
    user: str,
    *,
    export_documents: Callable[[str], dict[str, Any]] | None = None,
    remote: ObjectStore | None = None,
    base: Path | None = None,
) -> dict[str, Any]:
    """Return table rows, marks, documents of the app, model records and snapshots of ``user``.

    ``key`` is the secret ``privacy_key`` of the marks. Places that are None are omitted.
    """
    with database.transaction() as cursor:
        marks = dict(list_marks(cursor, key, user)) if key else {}
    stored_id = MarkReader(key).read(database).stored_id(user)
    return {
        "user_id": user,
        "stored_id": stored_id,
        "marks": marks,
        "tables": personal_tables.export_rows(database, [user, stored_id]),
        "app": export_documents(user) if export_documents else None,
        "models": _export_records(store, stored_id) if store else {},
        "snapshots": _find_snapshots(remote, stored_id) if remote else [],
        "base_data": read_base_rows(base, [user]) if base else [],
    }


def read_base_rows(base: Path, users: list[str]) -> list[dict[str, Any]]:
    """Return the ratings and the row of ``users.csv`` of the users in the base data."""
    wanted = frozenset(users)
    ratings = base_data.read_ratings(base / base_data.RATINGS_FILE, Counter())
    found: list[dict[str, Any]] = [
        {"movie_id": row.movie_id, "rating": row.rating, "time": row.time} for row in ratings if row.user_id in wanted
    ]
    known = base_data.read_side_table(base / base_data.USERS_FILE, "user_id", Counter())
    return found + [dict(row) for user_id, row in known.items() if user_id in wanted]


def _export_records(store: ObjectStore, user: str) -> dict[str, Any]:
    """Return the history, bias and vector of the user in each artifact, by version."""
    exported: dict[str, Any] = {}
    for version in learned_models.find_learned(store, [user]):
        try:
            manifest = read_manifest(store, version)
            record = UserStore(store, manifest).read(user)
            movie_ids = list(read_items(store, version).items)
        except (ArtifactRefused, ObjectNotFound) as error:
            exported[version] = {"error": str(error)}
            continue
        if record is not None:
            exported[version] = {
                "bias": record.bias,
                "vector": record.vector.tolist(),
                "movies": [movie_ids[item] for item in record.items.tolist()],
                "ratings": [None if rating != rating else rating for rating in record.ratings.tolist()],
            }
    return exported


def _find_snapshots(remote: ObjectStore, user: str) -> list[str]:
    listed = learned_models.list_snapshots(remote)
    return [digest for digest in listed if learned_models.snapshot_holds_any(remote, digest, [user])]
