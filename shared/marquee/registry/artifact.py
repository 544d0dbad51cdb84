"""Writer of artifacts: immutable trained models at ``models/<version>/``.

The files are plain arrays and JSON; unlike a pickle, nothing in them is executed. The manifest is written last, so
that a half-written artifact does not count as one.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import msgspec
import numpy as np

from marquee.errors import ArtifactRefused, ObjectNotFound, ObjectStoreError, PreconditionFailed
from marquee.registry.item_store import (
    COHORT_SCORES,
    COHORTS,
    MOVIE_IDS,
    PRIOR_IMPLICIT,
    TREND,
    array_shapes,
    make_item_factors,
    npy_name,
    read_items,
)
from marquee.registry.manifest import (
    FileEntry,
    Manifest,
    Metric,
    Provenance,
    ResidualInterval,
    SmokeCase,
    decode_manifest,
    encode_manifest,
    object_name,
)
from marquee.registry.movie_metadata import METADATA, NO_METADATA
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.smoke_test import MAX_CASES, make_smoke_cases, run_smoke_test
from marquee.registry.trained_model import TrainedModel
from marquee.registry.user_store import UserRecord, UserStore, write_users
from marquee.scoring.arrays import item_shapes

_CHUNK = 8 << 20


class UserSource(Protocol):
    """Users of an artifact whose model in memory has none, because they are elsewhere."""

    n_users: int

    def write(self, directory: Path) -> int:
        """Write the files of the user store into ``directory`` and return the number of buckets."""
        ...

    def sample(self, count: int) -> list[UserRecord]:
        """Return up to ``count`` users."""
        ...


def write_artifact(
    store: ObjectStore,
    model: TrainedModel,
    *,
    users: UserSource | None = None,
    trained_through: datetime,
    metrics: Mapping[str, Metric] = MappingProxyType({}),
    groups: Mapping[str, dict[str, Metric]] = MappingProxyType({}),
    prediction_intervals: tuple[ResidualInterval, ...] = (),
    provenance: Provenance | None = None,
    now: datetime | None = None,
) -> str:
    """Store ``model`` and return its version, ``<trained_through>-<hash of the content>``.

    ``users`` replaces the users of ``model``.

    The call is idempotent. Files written before an error are not part of any artifact, and the next attempt reuses
    them. Raises :class:`ArtifactRefused` if the model is invalid, and the store's errors.
    """
    model.check()
    with tempfile.TemporaryDirectory(prefix="marquee-") as temporary:
        directory = Path(temporary)
        source = users or _ModelUsers(model)
        buckets = _write_files(model, source, directory)
        files = {path.name: _make_entry(path) for path in sorted(directory.iterdir())}
        manifest = Manifest(
            version=_make_version(model, trained_through, files),
            created=(now or datetime.now(UTC)).astimezone(UTC),
            trained_through=trained_through.astimezone(UTC),
            n_users=source.n_users,
            n_items=len(model.movie_ids),
            rating_rank=model.item_vectors.shape[1],
            ranking_rank=model.rank_items.shape[1],
            buckets=buckets,
            mean=float(model.mean),
            rating_min=float(model.rating_min),
            rating_max=float(model.rating_max),
            noise_precision=float(model.noise_precision),
            drift=model.drift,
            popularity_columns=model.popularity_columns,
            files=files,
            metrics=dict(metrics),
            groups=dict(groups),
            prediction_intervals=prediction_intervals,
            provenance=provenance or Provenance(),
        )
        _upload(store, msgspec.structs.replace(manifest, smoke=_make_cases(model, source, manifest)), directory)
    return manifest.version


def verify_artifact(store: ObjectStore, version: str) -> Manifest:
    """Run every check that an instance makes before it serves an artifact, and return the manifest.

    Raises the same errors as :func:`read_items`.
    """
    factors = read_items(store, version)
    users = UserStore(store, factors.manifest)
    users.check_sizes()
    run_smoke_test(factors, users)
    factors.metadata_file.read()
    return factors.manifest


def _write_files(model: TrainedModel, users: UserSource, directory: Path) -> int:
    """Write the model's files and return the number of buckets of its users."""
    try:
        _write_items(model, directory)
        return users.write(directory)
    except OSError as error:
        raise ObjectStoreError(
            f"the artifact's files could not be written to {directory.parent}: {error.strerror}; free space there, or "
            "set TMPDIR to a directory with more"
        ) from error


def _write_items(model: TrainedModel, directory: Path) -> None:
    (directory / MOVIE_IDS).write_bytes(msgspec.json.encode(list(model.movie_ids)))
    if model.cohort_names:
        (directory / COHORTS).write_bytes(msgspec.json.encode(list(model.cohort_names)))
    optional = [
        *([COHORT_SCORES] if model.cohort_names else []),
        *([PRIOR_IMPLICIT] if model.prior_implicit.size else []),
        *([TREND] if model.trend is not None else []),
    ]
    if model.metadata is not NO_METADATA:
        (directory / METADATA).write_bytes(msgspec.json.encode(model.metadata))
    for name in (*item_shapes(0, 0, 0), *optional):
        with (directory / npy_name(name)).open("wb") as out:
            np.save(out, np.ascontiguousarray(getattr(model, name)), allow_pickle=False)


def _make_entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        return FileEntry(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _make_version(model: TrainedModel, trained_through: datetime, files: dict[str, FileEntry]) -> str:
    if trained_through.tzinfo is None:
        raise ValueError("trained_through needs a time zone")
    scalars = [float(x) for x in (model.mean, model.rating_min, model.rating_max, model.noise_precision)]
    if model.drift.variance:  # Otherwise the version is the one of a program that did not know drift.
        scalars += [model.drift.variance, model.drift.correlation]
    scalars += [float(model.popularity_columns)] if model.popularity_columns else []
    content = msgspec.json.encode((scalars, {name: files[name].sha256 for name in sorted(files)}))
    timestamp = trained_through.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
    return f"{timestamp}-{hashlib.sha256(content).hexdigest()[:8]}"


def _make_cases(model: TrainedModel, users: UserSource, manifest: Manifest) -> tuple[SmokeCase, ...]:
    arrays = {name: getattr(model, name) for name in array_shapes(manifest)}
    factors = make_item_factors(manifest, tuple(model.movie_ids), arrays)
    return make_smoke_cases(factors, users.sample(MAX_CASES))


class _ModelUsers:
    """Users of a model in memory."""

    def __init__(self, model: TrainedModel) -> None:
        self._model = model
        self.n_users = len(model.user_ids)

    def write(self, directory: Path) -> int:
        return write_users(self._model, directory)

    def sample(self, count: int) -> list[UserRecord]:
        rows = np.unique(np.linspace(0, self.n_users - 1, min(count, self.n_users)).astype(int)).tolist()
        return [make_record(self._model, user) for user in rows]


def make_record(model: TrainedModel, user: int) -> UserRecord:
    """Return what an artifact stores of the user in row ``user``."""
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
        except PreconditionFailed:  # Left by an earlier attempt that did not finish.
            if _hash_stored(store, name, entry.size) != entry.sha256:
                raise ArtifactRefused(f"{name} exists with another content") from None
    try:
        store.put_new(object_name(manifest.version, "manifest.json"), encode_manifest(manifest))
    except PreconditionFailed:
        pass  # Another writer stored the same model first.


def _exists(store: ObjectStore, version: str) -> bool:
    try:
        decode_manifest(store.get(object_name(version, "manifest.json")).data, version)
    except ObjectNotFound:
        return False
    return True


def _hash_stored(store: ObjectStore, name: str, size: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, size + 1, _CHUNK):
        digest.update(store.read_range(name, start, _CHUNK))
    return digest.hexdigest()
