"""Base data and database as of the event time."""

from __future__ import annotations

import msgspec

from marquee.data import deterministic_io, snapshot
from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.monitoring.drift import DataProfile
from marquee.registry import release
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.pipeline.pipeline_run import LAST, SNAPSHOT, PipelineRun


def take_snapshot(run: PipelineRun) -> None:
    """Base data and database as of the event time, and the profile of the snapshot that serves."""
    snapshot.write_snapshot(run.request, run.database, run.at(SNAPSHOT))
    deterministic_io.write_json(run.at(LAST), _last_profile(run.store))


def _last_profile(store: ObjectStore | None) -> DataProfile | None:
    """Of what serves, and never of a snapshot that was refused: drift does not become usual by repetition."""
    if store is None:
        return None
    try:
        serving = release.read_current_release(store)[0].arms[0].version
        profile = read_manifest(store, serving).provenance.profile
        return msgspec.convert(profile, DataProfile) if profile else None
    except (ObjectNotFound, ArtifactRefused, msgspec.ValidationError):
        return None
