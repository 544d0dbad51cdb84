"""Collections of the app with their validators, indexes and retention terms, made by ``marquee db migrate``.

A validator is the second check of a document, after the typed decoding of the request. Retention terms are TTL indexes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from marquee.app.documents import Document, Documents

DEVICE_DAYS = 400
"""Days after the last visit at which a device is forgotten; the lifetime of its cookie."""
MOVIE_DAYS = 30
"""Days after which a cached movie is deleted."""
CODE_MINUTES = 10
"""Minutes for which a code is valid."""
_DAY_S = 86_400

_TEXT, _DATE, _BOOL = {"bsonType": "string"}, {"bsonType": "date"}, {"bsonType": "bool"}
_COUNT = {"bsonType": ["int", "long"], "minimum": 0}
_ID = {"bsonType": "string", "minLength": 1, "maxLength": 128}
_DIGEST = {"bsonType": "string", "minLength": 64, "maxLength": 64}


class Index(msgspec.Struct, frozen=True):
    """An index: its keys, and the seconds after which documents expire, if any."""

    name: str
    keys: tuple[tuple[str, int], ...]
    expire_s: int | None = None


class CollectionSchema(msgspec.Struct, frozen=True):
    """A collection: its validator and its indexes."""

    name: str
    validator: dict[str, Any]
    indexes: tuple[Index, ...] = ()


def _object(required: str, **properties: Any) -> dict[str, Any]:
    """Return the JSON schema of a document with these ``properties`` only; ``required`` is split at spaces."""
    return {
        "bsonType": "object",
        "required": ["_id", *required.split()],
        "additionalProperties": False,
        "properties": properties,
    }


_CONSENT = {
    "bsonType": "object",
    "required": ["analytics", "text", "at"],
    "properties": {"analytics": _BOOL, "text": _COUNT, "at": _DATE},
}
_PROPERTIES = {"bsonType": "object", "maxProperties": 12}


def collection_schemas(retention_days: int) -> tuple[CollectionSchema, ...]:
    """Return all collections; analytics events are kept for ``retention_days``."""
    return (
        CollectionSchema(
            "devices",
            _object("user_id made seen", _id=_DIGEST, user_id=_ID, made=_DATE, seen=_DATE),
            (Index("by_user", (("user_id", 1),)), Index("expiry", (("seen", 1),), DEVICE_DAYS * _DAY_S)),
        ),
        CollectionSchema(
            "join_codes",
            _object("user_id made", _id=_DIGEST, user_id=_ID, made=_DATE),
            (Index("by_user", (("user_id", 1),)), Index("expiry", (("made", 1),), CODE_MINUTES * 60)),
        ),
        CollectionSchema(
            "profiles",
            _object(
                "made",
                _id=_ID,
                made=_DATE,
                consent=_CONSENT,
                personal=_BOOL,
                list={"bsonType": "array", "maxItems": 500, "items": _ID},
            ),
        ),
        CollectionSchema(
            "positions",
            _object(
                "user_id movie_id minute at",
                _id={"bsonType": "string", "maxLength": 257},
                user_id=_ID,
                movie_id=_ID,
                minute=_COUNT,
                at=_DATE,
            ),
            (Index("by_user", (("user_id", 1), ("at", -1))),),
        ),
        CollectionSchema(
            "movies",
            {"bsonType": "object", "required": ["_id", "title", "words", "told"], "properties": {"title": _TEXT}},
            (
                Index("by_word", (("words", 1),)),
                Index("by_release", (("release_date", -1),)),
                Index("expiry", (("told", 1),), MOVIE_DAYS * _DAY_S),
            ),
        ),
        CollectionSchema(
            "events",
            _object(
                "user_id session seq name at received app",
                _id={"bsonType": "string", "minLength": 36, "maxLength": 36},
                user_id=_ID,
                session=_TEXT,
                seq=_COUNT,
                name=_TEXT,
                at=_DATE,
                received=_DATE,
                screen=_TEXT,
                app=_TEXT,
                props=_PROPERTIES,
                recommendation=_TEXT,
                movie=_ID,
                position=_COUNT,
            ),
            (
                Index("by_user", (("user_id", 1), ("at", 1))),
                Index("by_time", (("at", 1), ("name", 1))),
                Index("expiry", (("received", 1),), retention_days * _DAY_S),
            ),
        ),
        CollectionSchema(
            "limits",
            _object("times expire", _id=_DIGEST, times={"bsonType": "array", "maxItems": 500}, expire=_DATE),
            (Index("expiry", (("expire", 1),), 0),),
        ),
        CollectionSchema("withdrawals", _object("at", _id=_ID, at=_DATE)),
    )


def prepare_documents(documents: Documents, retention_days: int) -> list[str]:
    """Make the collections, validators and indexes that are missing or differ; return what was changed.

    Raises :class:`DocumentsUnavailable` or :class:`DocumentsRefused`.
    """
    changes: list[str] = []
    with documents.translated():
        database = documents.database
        existing = {found["name"]: found for found in database.list_collections()}
        for schema in collection_schemas(retention_days):
            changes += _prepare_collection(database, schema, existing.get(schema.name))
    return changes


def _prepare_collection(database: Any, schema: CollectionSchema, existing: Mapping[str, Any] | None) -> list[str]:
    validator = {"$jsonSchema": schema.validator}
    changes = []
    if existing is None:
        database.create_collection(schema.name, validator=validator)
        changes.append(f"collection {schema.name}")
    elif existing.get("options", {}).get("validator") != validator:
        database.command("collMod", schema.name, validator=validator)
        changes.append(f"validator of {schema.name}")
    collection = database[schema.name]
    indexes = collection.index_information()
    for index in schema.indexes:
        changes += _prepare_index(database, collection, index, indexes.get(index.name))
    return changes


def _prepare_index(database: Any, collection: Any, index: Index, existing: Document | None) -> list[str]:
    name = f"index {index.name} of {collection.name}"
    if existing is not None and [tuple(key) for key in existing["key"]] != list(index.keys):
        collection.drop_index(index.name)
        existing = None
    if existing is None:
        options = {} if index.expire_s is None else {"expireAfterSeconds": index.expire_s}
        collection.create_index(list(index.keys), name=index.name, **options)
        return [name]
    if index.expire_s is not None and existing.get("expireAfterSeconds") != index.expire_s:
        changed = {"name": index.name, "expireAfterSeconds": index.expire_s}
        database.command("collMod", collection.name, index=changed)
        return [name]
    return []
