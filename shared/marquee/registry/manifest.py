"""What an artifact says of itself: its files, its numbers, and where it came from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from marquee.errors import ArtifactRefused
from marquee.registry.object_store.object_store import ObjectStore

FORMAT = 1


class FileEntry(msgspec.Struct, frozen=True):
    """One file of the artifact: its length in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


class Metric(msgspec.Struct, frozen=True):
    """A measured number with the ends of its confidence interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


class Stage(msgspec.Struct, frozen=True):
    """One step of the pipeline: name of each file or directory -> its MD5, as DVC writes it."""

    deps: dict[str, str] = {}
    outs: dict[str, str] = {}


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to make the model again."""

    trainer: str = ""
    parameters: dict[str, Any] = {}
    seed: int | None = None
    libraries: dict[str, str] = {}  # name -> version
    commit: str = ""  # of this repository
    data: dict[str, str] = {}  # name of a data set -> hash of its content
    snapshot: str = ""  # by which a DVC remote knows all that was learnt from
    stages: dict[str, Stage] = {}
    profile: dict[str, Any] = {}  # of the data, in a few numbers, to see later data drift


class SmokeCase(msgspec.Struct, frozen=True):
    """One stored user and the answers that were computed when the artifact was written."""

    user_id: str
    ratings: tuple[tuple[str, float], ...]  # (movie_id, predicted rating, not clipped)
    top: tuple[tuple[str, float], ...]  # (movie_id, ranking score), best first


class ResidualInterval(msgspec.Struct, frozen=True):
    """How far ratings lie from their prediction, for users with at least ``known`` ratings: between ``below``
    (mostly negative) and ``above``, in all but the share that the interval leaves out.
    """

    known: int
    below: float
    above: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``models/<version>/manifest.json``, written after every file that it names."""

    format: int = FORMAT
    version: str
    created: datetime
    trained_through: datetime  # time of the newest event that was learnt from
    n_users: int
    n_items: int
    k: int  # length of the rating head's vectors
    r: int  # length of the ranking head's vectors
    buckets: int  # of the user side
    mean: float
    rating_min: float
    rating_max: float
    noise_precision: float
    files: dict[str, FileEntry]
    smoke: tuple[SmokeCase, ...] = ()
    metrics: dict[str, Metric] = {}
    interval: float = 0.8  # share of the ratings that fall within their band
    prediction_intervals: tuple[
        ResidualInterval, ...
    ] = ()  # in order of ``known``, the first from 0; none: not calibrated
    groups: dict[str, dict[str, Metric]] = {}  # RMSE by kind of group (gender, age ...), by group
    provenance: Provenance = Provenance()


def object_name(version: str, file: str) -> str:
    """Where a file of an artifact is kept."""
    return f"models/{version}/{file}"


def encode(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def read_manifest(store: ObjectStore, version: str) -> Manifest:
    """The manifest of an artifact.

    Raises ``ObjectNotFound``, and :class:`ArtifactRefused` for one that we cannot understand.
    """
    return decode(store.get(object_name(version, "manifest.json")).data, version)


def decode(data: bytes, version: str) -> Manifest:
    """Parse a manifest; raises :class:`ArtifactRefused`."""
    try:
        found = msgspec.json.decode(data, type=_Format).format
        if found != FORMAT:
            raise ArtifactRefused(
                f"artifact {version} has format {found} and this program reads format {FORMAT}: "
                + ("update the program" if found > FORMAT else "train a new model")
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ArtifactRefused(f"the manifest of artifact {version} cannot be read: {error}") from error
    _check(manifest, version)
    return manifest


class _Format(msgspec.Struct):
    format: int


def _check(manifest: Manifest, version: str) -> None:
    if manifest.version != version:
        raise ArtifactRefused(f"artifact {version} holds the manifest of {manifest.version}")
    counts = (manifest.n_items, manifest.k, manifest.r, manifest.buckets)
    if min(counts) < 1 or manifest.n_users < 0:
        raise ArtifactRefused(f"artifact {version} states sizes that cannot be: {counts}, {manifest.n_users}")
