"""Export and deletion of all documents of one user, for the app and for ``marquee privacy``."""

from __future__ import annotations

from datetime import UTC, datetime

from marquee.app.documents import Document, Documents
from marquee.app.profiles import delete_events

# Collections with a field user_id. The _id of a device or code is a hash and cannot be used to sign in.
OF_USER = ("devices", "join_codes", "positions", "events")


def export_user(documents: Documents, user_id: str) -> Document:
    """Return all documents of a user, by collection.

    Raises :class:`DocumentsUnavailable`.
    """
    exported: Document = {}
    for name in OF_USER:
        with documents.collection(name) as collection:
            hidden = {"_id": 0} if name in ("devices", "join_codes") else None
            exported[name] = list(collection.find({"user_id": user_id}, hidden))
    with documents.collection("profiles") as profiles:
        exported["profile"] = profiles.find_one({"_id": user_id})
    return exported


def forget_user(documents: Documents, user_id: str, now: datetime) -> dict[str, int]:
    """Delete all documents of a user; return the number deleted by collection.

    The devices are deleted last, so that the user can repeat the request after a failure. The monitor deletes the rows
    of ``app_outcomes``. Raises :class:`DocumentsUnavailable`.
    """
    with documents.collection("events") as events:
        deleted = {"events": events.count_documents({"user_id": user_id})}
    delete_events(documents, user_id, now)
    with documents.collection("profiles") as profiles:
        deleted["profiles"] = profiles.delete_many({"_id": user_id}).deleted_count
    for name in ("positions", "join_codes", "devices"):
        with documents.collection(name) as collection:
            deleted[name] = collection.delete_many({"user_id": user_id}).deleted_count
    return deleted


def erase_user(documents: Documents, user_id: str) -> dict[str, int]:
    """Delete all that :func:`forget_user` deletes, and the withdrawal; return the numbers by ``app.<collection>``.

    The withdrawal asks the monitor to delete derived rows, which :mod:`marquee.privacy.personal_tables` deletes here.
    """
    deleted = forget_user(documents, user_id, datetime.now(UTC))
    with documents.collection("withdrawals") as withdrawals:
        withdrawals.delete_many({"_id": user_id})
    return {f"app.{name}": n for name, n in deleted.items()}
