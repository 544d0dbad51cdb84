"""Base data and database as of the event time."""

from __future__ import annotations

import msgspec

from marquee.artifacts import release
from marquee.artifacts.manifest import read_manifest
from marquee.artifacts.object_store import ObjectStore
from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.training import drift, snapshot, tables
from marquee.training.pipeline.run import LAST, SNAPSHOT, Run


def take_snapshot(run: Run) -> None:
    """Base data and database as of the event time, and the profile of the snapshot that serves."""
    snapshot.take(run.request, run.database, run.at(SNAPSHOT))
    tables.write_json(run.at(LAST), _last_profile(run.store))


def _last_profile(store: ObjectStore | None) -> drift.Profile | None:
    """Of what serves, and never of a snapshot that was refused: drift does not become usual by repetition."""
    if store is None:
        return None
    try:
        serving = release.current(store)[0].arms[0].version
        profile = read_manifest(store, serving).provenance.profile
        return msgspec.convert(profile, drift.Profile) if profile else None
    except (ObjectNotFound, ArtifactRefused, msgspec.ValidationError):
        return None
