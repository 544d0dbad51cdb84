"""Search for models and snapshots that hold data of given users, and their deletion."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from marquee.data import dvc_remote, stored_snapshots
from marquee.data.interaction_frames import distinct_ids
from marquee.data.snapshot import read_snapshot
from marquee.data.stored_snapshots import list_snapshots as list_snapshots
from marquee.errors import ArtifactRefused, ObjectNotFound, TrainingDataError
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import find_last_release
from marquee.registry.user_store import UserStore

MODELS = "models/"
_MANIFEST = "manifest.json"


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
    stored_snapshots.delete_snapshots(remote, tainted, listings)
    return len(tainted)


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
