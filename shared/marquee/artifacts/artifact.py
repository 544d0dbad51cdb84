"""An artifact: an immutable trained model at ``models/<version>/``, written once and then only read.

The files are plain arrays and JSON. The manifest comes last, so that an artifact is whole or is not
there; nothing in it is ever run, as a pickle's content would be.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np
from numpy.lib import format as npy

from marquee.artifacts.heads import ItemSide
from marquee.artifacts.manifest import (
    Band,
    FileEntry,
    Manifest,
    Metric,
    Provenance,
    SmokeCase,
    decode,
    encode,
    object_name,
    read_manifest,
)
from marquee.artifacts.model import Floats, TrainedModel, check_array, item_shapes
from marquee.artifacts.object_store import Mappable, ObjectStore
from marquee.artifacts.smoke import CASES, expected_answers, smoke_test
from marquee.artifacts.users import UserRecord, UserSide, write_users
from marquee.errors import ArtifactRefused, ObjectNotFound, PreconditionFailed

MOVIE_IDS = "movie_ids.json"
COHORTS, COHORT_SCORES = "cohorts.json", "cohort_scores"
_PIECE = 8 << 20
_READERS = 4


def write_artifact(
    store: ObjectStore,
    model: TrainedModel,
    *,
    trained_through: datetime,
    metrics: Mapping[str, Metric] = MappingProxyType({}),
    groups: Mapping[str, dict[str, Metric]] = MappingProxyType({}),
    bands: tuple[Band, ...] = (),
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
            bands=bands,
            provenance=provenance or Provenance(),
        )
        _upload(store, msgspec.structs.replace(manifest, smoke=_smoke(model, manifest)), directory)
    return manifest.version


def read_items(store: ObjectStore, version: str) -> ItemSide:
    """The item side of an artifact, every byte of it checked against the manifest.

    Raises ``ObjectNotFound`` if there is no such artifact and :class:`ArtifactRefused` if it must not serve.
    """
    manifest = read_manifest(store, version)
    optional = (COHORTS, _npy(COHORT_SCORES)) if COHORTS in manifest.files else ()
    names = (MOVIE_IDS, *map(_npy, _shapes(manifest)), *optional)
    with ThreadPoolExecutor(_READERS) as readers:  # Reading waits, and hashing lets go of Python's lock.
        files = dict(zip(names, readers.map(lambda file: _read(store, manifest, file), names), strict=True))
    arrays = {name: _array(name, files[_npy(name)], shape) for name, shape in _shapes(manifest).items()}
    side = _item_side(manifest, _texts(MOVIE_IDS, files), arrays)
    return _with_cohorts(side, files) if optional else side


def _with_cohorts(side: ItemSide, files: Mapping[str, memoryview]) -> ItemSide:
    names = _texts(COHORTS, files)
    scores = _array(COHORT_SCORES, files[_npy(COHORT_SCORES)], (len(names), side.manifest.n_items))
    return replace(side, cohorts={name: row for row, name in enumerate(names)}, cohort_scores=scores)


def verify(store: ObjectStore, version: str) -> Manifest:
    """Do all that an instance does before it serves an artifact; returns the manifest.

    Raises as :func:`read_items`.
    """
    side = read_items(store, version)
    users = UserSide(store, side.manifest)
    users.check_sizes()
    smoke_test(side, users)
    return side.manifest


def _shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    return item_shapes(manifest.n_items, manifest.k, manifest.r)


def _npy(name: str) -> str:
    return f"{name}.npy"


def _item_side(manifest: Manifest, movie_ids: tuple[str, ...], arrays: dict[str, Floats]) -> ItemSide:
    items = dict(zip(movie_ids, range(len(movie_ids)), strict=True))
    if len(items) != len(movie_ids) or len(items) != manifest.n_items or "" in items:
        raise ArtifactRefused(f"{MOVIE_IDS} should hold {manifest.n_items} distinct ids")
    return ItemSide(manifest, movie_ids, items, **arrays)  # type: ignore[arg-type]  # All of it arrays.


def _write_items(model: TrainedModel, directory: Path) -> None:
    (directory / MOVIE_IDS).write_bytes(msgspec.json.encode(list(model.movie_ids)))
    if model.cohort_names:
        (directory / COHORTS).write_bytes(msgspec.json.encode(list(model.cohort_names)))
    for name in (*item_shapes(0, 0, 0), *([COHORT_SCORES] if model.cohort_names else [])):
        with (directory / _npy(name)).open("wb") as out:
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
    side = _item_side(manifest, tuple(model.movie_ids), {n: getattr(model, n) for n in _shapes(manifest)})
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


def _read(store: ObjectStore, manifest: Manifest, file: str) -> memoryview:
    name, entry = object_name(manifest.version, file), manifest.files.get(file)
    if entry is None:
        raise ArtifactRefused(f"the manifest of {manifest.version} does not name {file}")
    try:
        data = store.map(name) if isinstance(store, Mappable) else memoryview(store.get(name).data)
    except ObjectNotFound as error:
        raise ArtifactRefused(f"{name} is missing") from error
    if len(data) != entry.size:
        raise ArtifactRefused(f"{name} has {len(data)} bytes, not {entry.size}")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ArtifactRefused(f"{name} has not the hash that the manifest names")
    return data


def _array(name: str, data: memoryview, shape: tuple[int, ...]) -> Floats:
    """The array over ``data`` itself: nothing is copied."""
    head = io.BytesIO(data[:4096])
    try:
        major = npy.read_magic(head)[0]
        if major != 1:
            raise ValueError(f"version {major} of the npy format")
        found, fortran, dtype = npy.read_array_header_1_0(head)
        if fortran or dtype != np.dtype("<f4") or found != shape:
            raise ValueError(f"{dtype}{list(found)}")
        array: Floats = np.frombuffer(data, "<f4", offset=head.tell()).reshape(shape)
    except ValueError as error:
        raise ArtifactRefused(f"{name} should be float32{list(shape)}, row by row: {error}") from error
    check_array(name, array, shape)
    return array


def _texts(file: str, files: Mapping[str, memoryview]) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(files[file], type=tuple[str, ...])
    except msgspec.MsgspecError as error:
        raise ArtifactRefused(f"{file} should be a list of texts: {error}") from error
