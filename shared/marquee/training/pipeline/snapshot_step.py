"""Pipeline step ``snapshot``: base data and database as of one event time."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import msgspec

from marquee.data import deterministic_io, dvc_remote, snapshot
from marquee.data.catalog_feed import CatalogFeed
from marquee.data.changed_days import NOTHING_TAKEN, LiveSnapshot
from marquee.db.privacy_marks import NO_MARKS, MarkReader
from marquee.errors import ArtifactRefused, ObjectNotFound, ObjectStoreError, TrainingDataError, TransientError
from marquee.monitoring.drift import DataProfile
from marquee.registry import release
from marquee.registry.manifest import Provenance, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.pipeline.pipeline_run import SERVING_PROFILE, SERVING_TUNING, SNAPSHOT, PipelineRun

_log = logging.getLogger(__name__)


def take_snapshot(run: PipelineRun) -> None:
    """Write the snapshot without marked users, and the serving model's data profile and chosen parameters."""
    marks = MarkReader(run.privacy_key).read(run.database) if run.database else NO_MARKS
    catalog = CatalogFeed(run.movies_url, run.store) if run.movies_url else None
    serving = _serving_provenance(run.store)
    previous = _find_live(run.remote, serving) if run.database else None
    snapshot.write_snapshot(run.request, run.database, run.path(SNAPSHOT), marks, catalog, previous)
    _write_serving(run, serving)


def write_serving(run: PipelineRun) -> None:
    """Write the serving model's data profile and chosen parameters."""
    _write_serving(run, _serving_provenance(run.store))


def _write_serving(run: PipelineRun, serving: Provenance) -> None:
    deterministic_io.write_json(run.path(SERVING_PROFILE), _profile(serving))
    deterministic_io.write_json(run.path(SERVING_TUNING), serving.tuning)


def _serving_provenance(store: ObjectStore | None) -> Provenance:
    """Return the provenance of the serving model; an empty one if there is none.

    The reference is never a refused snapshot: otherwise drift would become normal by repetition.
    """
    if store is None:
        return Provenance()
    try:
        serving = release.find_serving_release(store)
        return read_manifest(store, serving.arms[0].version).provenance if serving else Provenance()
    except (ObjectNotFound, ArtifactRefused):
        return Provenance()


def _find_live(remote: ObjectStore | None, serving: Provenance) -> LiveSnapshot | None:
    """Return the live part of the serving model's snapshot, or an empty one; None without a remote to read it from.

    Whatever is wrong with it costs time only: everything is read again.
    """
    if remote is None:
        return None
    if not serving.snapshot:
        return NOTHING_TAKEN
    with tempfile.TemporaryDirectory(prefix="marquee-live-") as directory:
        try:
            dvc_remote.fetch(remote, serving.snapshot, Path(directory) / "snapshot", snapshot.LIVE_FILES)
            return snapshot.read_live(Path(directory) / "snapshot")
        except (ObjectNotFound, TransientError, ObjectStoreError, TrainingDataError, OSError, ValueError) as error:
            _log.warning("the snapshot of the serving model cannot be used, all rows are read again: %s", error)
            return NOTHING_TAKEN


def _profile(origin: Provenance) -> DataProfile | None:
    try:
        return msgspec.convert(origin.profile, DataProfile) if origin.profile else None
    except msgspec.ValidationError:
        return None
