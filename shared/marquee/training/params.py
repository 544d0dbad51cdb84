"""``params.yaml``: every parameter of training, read strictly. An unknown or missing name is an error."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from marquee.data.snapshot import SnapshotRequest
from marquee.errors import SettingsError
from marquee.evaluation.group_fairness import FairnessParams
from marquee.evaluation.offline import EvaluationParams
from marquee.evaluation.paired_test import GateParams
from marquee.models.popularity import PopularityParams
from marquee.training.snapshot_drift import DriftParams

_TIME = "2000-01-01T00:00:00Z"
# What computes the rating head -> the trainer that it means; local: the one that ``trainer`` names.
_ENGINES = {"local": None, "spark": "spark_als"}


class MovielensParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``sha256``: file name -> the digest that it must have."""

    sha256: dict[str, str]


class SnapshotParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to learn from, when `dvc repro` asks: events before ``until`` (a text with a zone) of ``base``,
    a directory with ratings.csv ("": none), of it the first ``base_fraction``, and with ``database`` of
    MARQUEE_DATABASE_URL. ``rating_max``: the top of the stream's scale. `marquee retrain` takes them from its
    own arguments.
    """

    until: str
    base: str
    base_fraction: float
    database: bool
    rating_max: float

    @property
    def moment(self) -> datetime:
        """``until``; raises :class:`SettingsError` where it is none."""
        try:
            moment = datetime.fromisoformat(self.until)
        except ValueError as error:
            raise SettingsError(f"snapshot.until is {self.until!r}, no time such as {_TIME}") from error
        if moment.tzinfo is None:
            raise SettingsError(f"snapshot.until is {self.until}, which names no zone: write {_TIME}")
        return moment.astimezone(UTC)

    def to_request(self) -> SnapshotRequest:
        """The snapshot that these parameters ask for."""
        base = Path(self.base) if self.base else None
        return SnapshotRequest(self.moment, base, self.base_fraction, self.rating_max)

    @classmethod
    def from_request(cls, request: SnapshotRequest, *, database: bool) -> SnapshotParams:
        """The parameters to record for ``request``. Only the last name of the base data's path is kept."""
        base = request.base.name if request.base else ""
        until = request.until.astimezone(UTC).isoformat()
        return cls(until, base, request.base_fraction, database, request.rating_max)


class DataParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rating_min``: the bottom of every scale. ``base_rating_max``: the top of the base data's.
    ``min_users_for_unlisted_movie``: how many users have to know of a movie that the base data do not list.
    """

    rating_min: float
    base_rating_max: float
    min_users_for_unlisted_movie: int


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``newest``: the share of the ratings, by time, on which a model is evaluated.
    ``engine``: what computes the rating head, ``local`` (by ``trainer``) or ``spark``.
    """

    seed: int
    movielens: MovielensParams
    snapshot: SnapshotParams
    data: DataParams
    drift: DriftParams
    newest: float
    engine: str
    trainer: str
    trainers: dict[str, dict[str, Any]]
    ranker: str
    rankers: dict[str, dict[str, Any]]
    popularity: PopularityParams
    evaluation: EvaluationParams
    fairness: FairnessParams
    gate: GateParams

    @classmethod
    def read(cls, path: Path) -> Params:
        """Read ``path``; raises :class:`SettingsError` that says what is wrong and where."""
        try:
            params = msgspec.yaml.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}; --params names another") from error
        except msgspec.MsgspecError as error:
            raise SettingsError(f"{path}: {error}") from error
        if params.engine not in _ENGINES:
            raise SettingsError(f"{path}: engine is {params.engine!r}; there is {', '.join(_ENGINES)}")
        if params.rating_trainer not in params.trainers:
            raise SettingsError(
                f"{path}: trainer is {params.rating_trainer!r}, which trainers has no section for"
            )
        if params.ranker not in params.rankers:
            raise SettingsError(
                f"{path}: the ranker {params.ranker!r} has no section under rankers; add one"
            )
        return params

    @property
    def rating_trainer(self) -> str:
        """The trainer of the rating head: the engine's own, or the one that ``trainer`` names."""
        return _ENGINES[self.engine] or self.trainer

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
