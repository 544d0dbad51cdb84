"""Pipeline step ``snapshot``: base data and database as of one event time."""

from __future__ import annotations

import msgspec

from marquee.data import deterministic_io, snapshot
from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.monitoring.drift import DataProfile
from marquee.registry import release
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.pipeline.pipeline_run import SERVING_PROFILE, SNAPSHOT, PipelineRun


def take_snapshot(run: PipelineRun) -> None:
    """Write the snapshot, and the data profile of the model that serves."""
    snapshot.write_snapshot(run.request, run.database, run.path(SNAPSHOT))
    deterministic_io.write_json(run.path(SERVING_PROFILE), _serving_profile(run.store))


def _serving_profile(store: ObjectStore | None) -> DataProfile | None:
    """Return the data profile of the serving model, or None if there is none.

    The reference is never a refused snapshot: otherwise drift would become normal by repetition.
    """
    if store is None:
        return None
    try:
        serving = release.find_serving_release(store)
        profile = read_manifest(store, serving.arms[0].version).provenance.profile if serving else None
        return msgspec.convert(profile, DataProfile) if profile else None
    except (ObjectNotFound, ArtifactRefused, msgspec.ValidationError):
        return None
