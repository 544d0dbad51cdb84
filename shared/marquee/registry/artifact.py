"""An artifact: an immutable trained model at ``models/<version>/``, written once and then only read.

The files are plain arrays and JSON. The manifest comes last, so that an artifact is whole or is not
there; nothing in it is ever run, as a pickle's content would be.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np

from marquee.errors import ArtifactRefused, ObjectNotFound, PreconditionFailed
from marquee.registry.item_store import (
    COHORT_SCORES,
    COHORTS,
    MOVIE_IDS,
    make_item_factors,
    npy_file,
    read_items,
    shapes_of,
)
from marquee.registry.manifest import (
    FileEntry,
    Manifest,
    Metric,
    Provenance,
    ResidualInterval,
    SmokeCase,
    decode,
    encode,
    object_name,
)
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.smoke_test import CASES, expected_answers, smoke_test
from marquee.registry.trained_model import TrainedModel
from marquee.registry.user_store import UserRecord, UserStore, write_users
from marquee.scoring.arrays import item_shapes

_PIECE = 8 << 20


def write_artifact(
    store: ObjectStore,
    model: TrainedModel,
    *,
    trained_through: datetime,
    metrics: Mapping[str, Metric] = MappingProxyType({}),
    groups: Mapping[str, dict[str, Metric]] = MappingProxyType({}),
    prediction_intervals: tuple[ResidualInterval, ...] = (),
    provenance: Provenance | None = None,
    now: datetime | None = None,
) -> str:
    """Store ``model`` and return its version, ``<trained_through>-<hash of the content>``.

    Writing the same model again changes nothing. Raises :class:`ArtifactRefused` for a model that
    is not sound, and the store's errors; what was written by then is in nobody's way.
    """
    model.check()
    with tempfile.TemporaryDirectory(prefix="marquee-") as temporary:
        directory = Path(temporary)
        _write_items(model, directory)
        buckets = write_users(model, directory)
        files = {path.name: _entry(path) for path in sorted(directory.iterdir())}
        manifest = Manifest(
            version=_version(model, trained_through, files),
            created=(now or datetime.now(UTC)).astimezone(UTC),
            trained_through=trained_through.astimezone(UTC),
            n_users=len(model.user_ids),
            n_items=len(model.movie_ids),
            k=model.item_vectors.shape[1],
            r=model.rank_items.shape[1],
            buckets=buckets,
            mean=float(model.mean),
            rating_min=float(model.rating_min),
            rating_max=float(model.rating_max),
            noise_precision=float(model.noise_precision),
            files=files,
            metrics=dict(metrics),
            groups=dict(groups),
            prediction_intervals=prediction_intervals,
            provenance=provenance or Provenance(),
        )
        _upload(store, msgspec.structs.replace(manifest, smoke=_smoke(model, manifest)), directory)
    return manifest.version


def verify(store: ObjectStore, version: str) -> Manifest:
    """Do all that an instance does before it serves an artifact; returns the manifest.

    Raises as :func:`read_items`.
    """
    side = read_items(store, version)
    users = UserStore(store, side.manifest)
    users.check_sizes()
    smoke_test(side, users)
    return side.manifest


def _write_items(model: TrainedModel, directory: Path) -> None:
    (directory / MOVIE_IDS).write_bytes(msgspec.json.encode(list(model.movie_ids)))
    if model.cohort_names:
        (directory / COHORTS).write_bytes(msgspec.json.encode(list(model.cohort_names)))
    for name in (*item_shapes(0, 0, 0), *([COHORT_SCORES] if model.cohort_names else [])):
        with (directory / npy_file(name)).open("wb") as out:
            np.save(out, np.ascontiguousarray(getattr(model, name)), allow_pickle=False)


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        return FileEntry(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _version(model: TrainedModel, trained_through: datetime, files: dict[str, FileEntry]) -> str:
    if trained_through.tzinfo is None:
        raise ValueError("trained_through needs a zone: events carry UTC")
    scalars = [float(x) for x in (model.mean, model.rating_min, model.rating_max, model.noise_precision)]
    content = msgspec.json.encode((scalars, {name: files[name].sha256 for name in sorted(files)}))
    moment = trained_through.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
    return f"{moment}-{hashlib.sha256(content).hexdigest()[:8]}"


def _smoke(model: TrainedModel, manifest: Manifest) -> tuple[SmokeCase, ...]:
    side = make_item_factors(
        manifest, tuple(model.movie_ids), {n: getattr(model, n) for n in shapes_of(manifest)}
    )
    n = len(model.user_ids)
    chosen = np.unique(np.linspace(0, n - 1, min(CASES, n)).astype(int)).tolist()
    return expected_answers(side, [_user(model, u) for u in chosen])


def _user(model: TrainedModel, user: int) -> UserRecord:
    h = model.histories
    rows = slice(int(h.indptr[user]), int(h.indptr[user + 1]))
    return UserRecord(
        model.user_ids[user],
        float(model.user_biases[user]),
        model.user_vectors[user],
        h.items[rows],
        h.ratings[rows],
        h.weights[rows],
    )


def _upload(store: ObjectStore, manifest: Manifest, directory: Path) -> None:
    if _exists(store, manifest.version):
        return
    for file, entry in manifest.files.items():
        name = object_name(manifest.version, file)
        try:
            store.put_new(name, directory / file)
        except PreconditionFailed:  # A writer that was killed came this far.
            if _stored_hash(store, name, entry.size) != entry.sha256:
                raise ArtifactRefused(f"{name} is there already, with another content") from None
    try:
        store.put_new(object_name(manifest.version, "manifest.json"), encode(manifest))
    except PreconditionFailed:
        pass  # Another writer of the same model was first.


def _exists(store: ObjectStore, version: str) -> bool:
    try:
        decode(store.get(object_name(version, "manifest.json")).data, version)
    except ObjectNotFound:
        return False
    return True


def _stored_hash(store: ObjectStore, name: str, size: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, size + 1, _PIECE):
        digest.update(store.read_range(name, start, _PIECE))
    return digest.hexdigest()
