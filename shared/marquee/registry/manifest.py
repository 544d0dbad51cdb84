"""Manifest of an artifact: its files, sizes, metrics and provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.registry.json_document import MalformedDocument, decode_json
from marquee.registry.object_store.object_store import ObjectStore
from marquee.scoring.level_drift import NO_DRIFT, Drift

FORMAT = 1
MANIFEST = "manifest.json"


class FileEntry(msgspec.Struct, frozen=True):
    """One file of the artifact: its length in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


class Metric(msgspec.Struct, frozen=True):
    """Measured value with the bounds of its confidence interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Return True if there is an interval, and 0 is outside it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class Stage(msgspec.Struct, frozen=True):
    """One stage of the DVC pipeline: name of each file or directory -> its MD5, as DVC writes it."""

    deps: dict[str, str] = {}
    outs: dict[str, str] = {}


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is needed to reproduce the model."""

    trainer: str = ""
    ranker: str = ""
    ranking_method: str = ""  # How the ranker was fitted, which can depend on the number of items.
    parameters: dict[str, Any] = {}
    tuning: dict[str, Any] = {}  # Parameters that were chosen on past cuts, instead of those in ``parameters``.
    seed: int | None = None
    libraries: dict[str, str] = {}  # Name -> version.
    commit: str = ""  # Of this repository.
    data: dict[str, str] = {}  # Name of a data set -> hash of its content.
    snapshot: str = ""  # Hash under which a DVC remote keeps the training data.
    stages: dict[str, Stage] = {}
    profile: dict[str, Any] = {}  # Summary of the data, the reference for drift checks.


class SmokeCase(msgspec.Struct, frozen=True):
    """One stored user and the predictions that were computed when the artifact was written."""

    user_id: str
    ratings: tuple[tuple[str, float], ...]  # (movie_id, predicted rating, not clipped)
    top: tuple[tuple[str, float], ...]  # (movie_id, ranking score), best first


class ResidualInterval(msgspec.Struct, frozen=True):
    """Conformal interval of the residuals, rating minus prediction, of users with at least ``known`` ratings.

    A residual lies between ``below`` (usually negative) and ``above`` with probability ``Manifest.coverage``.
    """

    known: int
    below: float
    above: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``models/<version>/manifest.json``, written after every file that it names."""

    format: int = FORMAT
    version: str
    created: datetime
    trained_through: datetime  # Time of the newest event in the training data.
    n_users: int
    n_items: int
    rating_rank: int  # Number of factors of the rating model, k in the array shapes.
    ranking_rank: int  # Number of factors of the ranking model, r in the array shapes.
    buckets: int  # Of the user store.
    mean: float  # Of all training ratings.
    rating_min: float
    rating_max: float
    noise_precision: float  # One over the variance of a rating around its prediction.
    drift: Drift = NO_DRIFT  # Of a user's level, in fold-in.
    popularity_columns: int = 0  # The last columns of the ranking model, which score recent popularity.
    files: dict[str, FileEntry]
    smoke: tuple[SmokeCase, ...] = ()
    metrics: dict[str, Metric] = {}
    coverage: float = 0.8  # Of the prediction intervals.
    # Ordered by ``known``, the first from 0; empty if they were not calibrated.
    prediction_intervals: tuple[ResidualInterval, ...] = ()
    groups: dict[str, dict[str, Metric]] = {}  # RMSE by kind of group (gender, age ...) and group.
    provenance: Provenance = Provenance()


def object_name(version: str, file: str) -> str:
    """Return the name of the object that holds a file of an artifact."""
    return f"models/{version}/{file}"


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def read_manifest(store: ObjectStore, version: str) -> Manifest:
    """Return the manifest of an artifact.

    Raises ``ObjectNotFound`` if there is none, :class:`ArtifactRefused` if it is invalid.
    """
    return decode_manifest(read_manifest_bytes(store, version), version)


def read_manifest_bytes(store: ObjectStore, version: str) -> bytes:
    """Return the manifest as it is stored; raises ``ObjectNotFound``."""
    return store.get(object_name(version, MANIFEST)).data


def hash_manifests(store: ObjectStore, versions: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of the manifest of each version; a ``known`` one stays, a missing one is left out."""
    hashes: dict[str, str] = {}
    for version in versions:
        try:
            hashes[version] = known.get(version) or hashlib.sha256(read_manifest_bytes(store, version)).hexdigest()
        except ObjectNotFound:
            continue  # Instances refuse the release.
    return hashes


def decode_manifest(data: bytes, version: str) -> Manifest:
    """Parse and check the manifest of artifact ``version``. Raises :class:`ArtifactRefused` if it is not valid."""
    try:
        found_format = decode_json(data, _ManifestHeader).format
        if found_format != FORMAT:
            raise ArtifactRefused(
                f"artifact {version} has format {found_format} and this program reads format {FORMAT}: "
                + ("update the program" if found_format > FORMAT else "train a new model")
            )
        manifest = decode_json(data, Manifest)
    except MalformedDocument as error:
        raise ArtifactRefused(f"the manifest of artifact {version} cannot be read: {error}") from error
    _check(manifest, version)
    return manifest


class _ManifestHeader(msgspec.Struct):
    format: int


def _check(manifest: Manifest, version: str) -> None:
    manifest.drift.check()
    if manifest.version != version:
        raise ArtifactRefused(f"artifact {version} holds the manifest of {manifest.version}")
    sizes = (manifest.n_items, manifest.rating_rank, manifest.ranking_rank, manifest.buckets)
    if min(sizes) < 1 or manifest.n_users < 0:
        raise ArtifactRefused(
            f"the manifest of artifact {version} has invalid sizes: n_items, rating_rank, ranking_rank and buckets "
            f"are {sizes} and must be at least 1; n_users is {manifest.n_users} and must not be negative"
        )
    if not 0 <= manifest.popularity_columns <= manifest.ranking_rank:
        raise ArtifactRefused(
            f"the manifest of artifact {version} has {manifest.popularity_columns} popularity_columns; it must lie "
            f"between 0 and ranking_rank, {manifest.ranking_rank}"
        )
