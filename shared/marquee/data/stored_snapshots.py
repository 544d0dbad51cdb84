"""Snapshots in a DVC remote: search, deletion, and their expiry."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime

import msgspec

from marquee.data.dvc_remote import FILES, object_name
from marquee.data.snapshot import ABOUT, SnapshotInfo
from marquee.errors import ObjectNotFound, TrainingDataError
from marquee.registry.json_document import MalformedDocument, decode_json
from marquee.registry.object_store.object_store import ObjectStore

_log = logging.getLogger(__name__)

Listing = dict[str, str]
"""MD5 of each file of a snapshot, by its name."""


class _Entry(msgspec.Struct):
    relpath: str
    md5: str


def list_snapshots(remote: ObjectStore) -> dict[str, Listing]:
    """Return the files of each snapshot in a DVC remote, by the hash of its listing.

    Raises :class:`TrainingDataError` for a damaged listing: whose data its files hold is unknown.
    """
    listings, damaged = _read_listings(remote)
    if damaged:
        raise TrainingDataError(
            f"{len(damaged)} listings of snapshots are damaged, such as {damaged[0]}: restore them, or delete them and "
            "every file of the remote that no other listing names"
        )
    return listings


def _read_listings(remote: ObjectStore) -> tuple[dict[str, Listing], list[str]]:
    """Return the readable listings of snapshots, and the names of the damaged ones."""
    found: dict[str, Listing] = {}
    damaged = []
    for name in remote.list(FILES):
        if name.endswith(".dir"):
            try:
                entries = decode_json(remote.get(name).data, list[_Entry])
            except MalformedDocument:
                damaged.append(name)
                continue
            files = {entry.relpath: entry.md5 for entry in entries}
            if ABOUT in files:
                found[name.removeprefix(FILES).replace("/", "")] = files
    return found, damaged


def delete_snapshots(remote: ObjectStore, digests: Collection[str], listings: dict[str, Listing]) -> None:
    """Delete some of the listed snapshots.

    Files that another snapshot shares are kept. The listing of a snapshot is deleted last, so that the call can be
    repeated after a kill.
    """
    kept = {md5 for digest, files in listings.items() if digest not in digests for md5 in files.values()}
    for digest in sorted(digests):
        for md5 in listings[digest].values():
            if md5 not in kept:
                remote.delete(object_name(md5))
        remote.delete(object_name(digest))


def expire_snapshots(remote: ObjectStore, before: datetime, kept: Collection[str]) -> int:
    """Delete the snapshots with events of a database that end before a time, but those ``kept``; return their number.

    Snapshots of base data alone stay: they hold no one's live data, and dvc.lock may name them. A damaged listing does
    not keep the others from expiring.
    """
    listings, damaged = _read_listings(remote)
    if damaged:
        _log.error("%d listings of snapshots are damaged and do not expire, such as %s", len(damaged), damaged[0])
    due = {digest for digest, files in listings.items() if digest not in kept and _is_due(remote, files[ABOUT], before)}
    delete_snapshots(remote, due, listings)
    return len(due)


def _is_due(remote: ObjectStore, md5: str, before: datetime) -> bool:
    try:
        about = decode_json(remote.get(object_name(md5)).data, SnapshotInfo)
    except ObjectNotFound:
        return True  # Its deletion was interrupted.
    except MalformedDocument:
        return False
    return about.database and about.until < before
