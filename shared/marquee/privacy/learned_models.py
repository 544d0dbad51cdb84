"""Search for models and snapshots that hold data of given users, and their deletion."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from marquee.data import dvc_remote
from marquee.data.interaction_frames import distinct_ids
from marquee.data.snapshot import ABOUT, read_snapshot
from marquee.errors import ArtifactRefused, ObjectNotFound, TrainingDataError
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import find_last_release
from marquee.registry.user_store import UserStore

MODELS = "models/"
_MANIFEST = "manifest.json"
_LISTINGS = "files/md5/"


def list_versions(store: ObjectStore) -> list[str]:
    """Return the versions of all stored artifacts, in order."""
    names = store.list(MODELS)
    return sorted({name.split("/")[1] for name in names if name.endswith(f"/{_MANIFEST}")})


def find_learned(store: ObjectStore, users: Sequence[str]) -> list[str]:
    """Return the versions of artifacts that hold data of one of the users, or that cannot be read."""
    return [version for version in list_versions(store) if holds_any(store, version, users)]


def holds_any(store: ObjectStore, version: str, users: Sequence[str]) -> bool:
    """Return True if an artifact holds a record of one of the users, or if that cannot be determined."""
    try:
        records = UserStore(store, read_manifest(store, version))
        return any(records.read(user) is not None for user in users)
    except ArtifactRefused:
        return True
    except ObjectNotFound:
        return False


def find_serving(store: ObjectStore) -> set[str]:
    """Return the versions of the arms of the current release."""
    release = find_last_release(store)
    return {arm.version for arm in release.arms} if release else set()


def delete_artifacts(store: ObjectStore, versions: Iterable[str]) -> None:
    """Delete the files of the artifacts, the manifest first, so that the call can be repeated after a kill."""
    for version in versions:
        names = sorted(store.list(f"{MODELS}{version}/"), key=lambda name: not name.endswith(_MANIFEST))
        for name in names:
            store.delete(name)


def delete_snapshots(remote: ObjectStore, users: Sequence[str]) -> int:
    """Delete every snapshot of the DVC remote that holds one of the users; return the number of snapshots deleted.

    Files that another snapshot shares are kept. The listing of a snapshot is deleted last, so that the call can be
    repeated after a kill.
    """
    listings = list_snapshots(remote)
    tainted = {digest for digest in listings if snapshot_holds_any(remote, digest, users)}
    kept = {md5 for digest, files in listings.items() if digest not in tainted for md5 in files}
    for digest in sorted(tainted):
        for md5 in listings[digest]:
            if md5 not in kept:
                remote.delete(_name(md5))
        remote.delete(_name(digest))
    return len(tainted)


def list_snapshots(remote: ObjectStore) -> dict[str, list[str]]:
    """Return the hashes of the files of each snapshot in a DVC remote, by the hash of its listing."""
    found = {}
    for name in remote.list(_LISTINGS):
        if name.endswith(".dir"):
            entries = json.loads(remote.get(name).data)
            if any(entry["relpath"] == ABOUT for entry in entries):
                found[name.removeprefix(_LISTINGS).replace("/", "")] = [entry["md5"] for entry in entries]
    return found


def snapshot_holds_any(remote: ObjectStore, digest: str, users: Sequence[str]) -> bool:
    """Return True if a snapshot names one of the users, or if it cannot be read completely."""
    with tempfile.TemporaryDirectory(prefix="marquee-forget-") as directory:
        path = Path(directory) / "snapshot"
        try:
            dvc_remote.fetch(remote, digest, path)
            taken = read_snapshot(path)
        except (ObjectNotFound, TrainingDataError):
            return True  # Its deletion was interrupted.
    frames = (taken.base.ratings, taken.live.ratings, taken.live.watch_sessions)
    known = {*distinct_ids(frames, "user_id"), *taken.base.side_information.users}
    return not known.isdisjoint(users)


def _name(digest: str) -> str:
    return f"{_LISTINGS}{digest[:2]}/{digest[2:]}"
