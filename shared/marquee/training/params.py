"""Parameters of training, read from ``params.yaml``. An unknown or missing name is an error."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from marquee.data.side_information import USER_ATTRIBUTES
from marquee.data.snapshot import SnapshotRequest
from marquee.errors import SettingsError
from marquee.evaluation.bootstrap import EvaluationParams
from marquee.evaluation.group_fairness import FairnessParams
from marquee.evaluation.paired_test import PairedTestParams
from marquee.models.popularity import PopularityParams
from marquee.training.cluster.spark_session import SparkParams
from marquee.training.snapshot_drift import DriftParams
from marquee.training.tuning_cuts import TuningParams

_EXAMPLE_TIME = "2000-01-01T00:00:00Z"
LOCAL, SPARK = ENGINES = ("local", "spark")


class MovielensParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``sha256``: expected digest of each base data file, by file name."""

    sha256: dict[str, str]


class SnapshotParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data that ``dvc repro`` trains on; `marquee retrain` takes them from its own arguments.

    ``until``: only events before this time, ISO 8601 with a time zone. ``base``: directory with
    ratings.csv, "" for none. ``base_fraction``: only this fraction of the base data, the oldest.
    ``database``: also the events in MARQUEE_DATABASE_URL. ``rating_min``, ``rating_max``: the event log's rating
    scale. ``scale``: minimum and maximum of the base data's ratings, None for those of the section ``data``.
    """

    until: str
    base: str
    base_fraction: float
    database: bool
    rating_max: float
    scale: tuple[float, float] | None = None
    rating_min: float = 1.0

    @property
    def until_time(self) -> datetime:
        """Return ``until`` in UTC. Raises :class:`SettingsError` if it is not a time with a zone."""
        try:
            time = datetime.fromisoformat(self.until)
        except ValueError as error:
            raise SettingsError(
                f"params.yaml: snapshot.until is {self.until!r}; write a time such as {_EXAMPLE_TIME}"
            ) from error
        if time.tzinfo is None:
            raise SettingsError(
                f"params.yaml: snapshot.until is {self.until}, without a time zone; write {_EXAMPLE_TIME}"
            )
        return time.astimezone(UTC)

    def to_request(self) -> SnapshotRequest:
        """Return the request for this snapshot."""
        base = Path(self.base) if self.base else None
        return SnapshotRequest(self.until_time, base, self.base_fraction, self.rating_max, self.scale, self.rating_min)

    @classmethod
    def from_request(cls, request: SnapshotRequest, *, database: bool) -> SnapshotParams:
        """Return the parameters to record for ``request``, with only the last part of the base path."""
        base = request.base.name if request.base else ""
        until = request.until.astimezone(UTC).isoformat()
        return cls(until, base, request.base_fraction, database, request.rating_max, request.scale, request.rating_min)


class DataParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rating scales and the filter of movies.

    ``rating_min``, ``base_rating_max``: scale of base data that were not imported.
    ``min_users_for_unlisted_movie``: users who must know a movie that the base data do not list; movies with
    fewer are dropped. ``user_attributes``: attributes of users that are features of the rating model and cohorts of
    the lists, of :data:`~marquee.data.side_information.USER_ATTRIBUTES`; by default all, as before it was a choice.
    """

    rating_min: float
    base_rating_max: float
    min_users_for_unlisted_movie: int
    user_attributes: list[str] = msgspec.field(default_factory=lambda: [*USER_ATTRIBUTES])


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All parameters.

    ``holdout_fraction``: fraction of the ratings, the newest, that models are evaluated on. ``engine``:
    ``local`` runs the pipeline in one process, ``spark`` on a cluster, with the rating model of
    :mod:`marquee.training.cluster.shard_factorization` in place of ``trainer``.
    """

    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    movielens: MovielensParams
    snapshot: SnapshotParams
    data: DataParams
    drift: DriftParams
    holdout_fraction: Annotated[float, Meta(gt=0, lt=1)]
    engine: str
    trainer: str
    trainers: dict[str, dict[str, Any]]
    ranker: str
    rankers: dict[str, dict[str, Any]]
    popularity: PopularityParams
    tuning: TuningParams
    evaluation: EvaluationParams
    fairness: FairnessParams
    release_policy: PairedTestParams
    spark: SparkParams = SparkParams("local[2]", 8, 15, 8)  # Absent in manifests before the cluster had it.

    @classmethod
    def read(cls, path: Path) -> Params:
        """Read ``path``. Raises :class:`SettingsError` if a value is not valid."""
        try:
            return cls.parse(path.read_bytes(), str(path))
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}; --params names another") from error

    @classmethod
    def parse(cls, data: bytes, path: str) -> Params:
        """Return the parameters in YAML. Raises :class:`SettingsError`, naming ``path``, if a value is not valid."""
        try:
            params = msgspec.yaml.decode(data, type=cls)
        # A date that does not exist is a ValueError, and deep nesting a RecursionError.
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise SettingsError(f"{path}: {error}") from error
        if params.engine not in ENGINES:
            raise SettingsError(f"{path}: engine is {params.engine!r}; use one of {', '.join(ENGINES)}")
        if unknown := set(params.data.user_attributes) - set(USER_ATTRIBUTES):
            raise SettingsError(
                f"{path}: data.user_attributes names {', '.join(sorted(unknown))}; "
                f"use some of {', '.join(USER_ATTRIBUTES)}"
            )
        if params.trainer not in params.trainers:
            raise SettingsError(f"{path}: the trainer {params.trainer!r} has no section under trainers; add one")
        if params.ranker not in params.rankers:
            raise SettingsError(f"{path}: the ranker {params.ranker!r} has no section under rankers; add one")
        return params

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as plain values, for the manifest."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
