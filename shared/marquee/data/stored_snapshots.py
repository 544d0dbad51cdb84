"""Snapshots in a DVC remote: search, deletion, and their expiry."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

import msgspec

from marquee.data.dvc_remote import FILES, object_name
from marquee.data.snapshot import ABOUT, SnapshotInfo
from marquee.errors import ObjectNotFound
from marquee.registry.object_store.object_store import ObjectStore

Listing = dict[str, str]
"""MD5 of each file of a snapshot, by its name."""


def list_snapshots(remote: ObjectStore) -> dict[str, Listing]:
    """Return the files of each snapshot in a DVC remote, by the hash of its listing."""
    found = {}
    for name in remote.list(FILES):
        if name.endswith(".dir"):
            files = {entry["relpath"]: entry["md5"] for entry in json.loads(remote.get(name).data)}
            if ABOUT in files:
                found[name.removeprefix(FILES).replace("/", "")] = files
    return found


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

    Snapshots of base data alone stay: they hold no one's live data, and dvc.lock may name them.
    """
    listings = list_snapshots(remote)
    due = {digest for digest, files in listings.items() if digest not in kept and _is_due(remote, files[ABOUT], before)}
    delete_snapshots(remote, due, listings)
    return len(due)


def _is_due(remote: ObjectStore, md5: str, before: datetime) -> bool:
    try:
        about = msgspec.json.decode(remote.get(object_name(md5)).data, type=SnapshotInfo)
    except ObjectNotFound:
        return True  # Its deletion was interrupted.
    except msgspec.MsgspecError:
        return False
    return about.database and about.until < before
