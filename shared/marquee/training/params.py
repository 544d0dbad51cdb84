"""``params.yaml``: every parameter of training, read strictly. An unknown or missing name is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from marquee.errors import SettingsError
from marquee.evaluation.offline import EvaluationParams
from marquee.training.popularity import PopularityParams
from marquee.training.ranking import RankingParams


class MovielensParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``sha256``: file name -> the digest that it must have."""

    sha256: dict[str, str]


class DataParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rating_min``: the bottom of every scale. ``base_rating_max``: the top of the base data's.
    ``unlisted_film_users``: how many users have to know of a film that the base data do not list."""

    rating_min: float
    base_rating_max: float
    unlisted_film_users: int


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``newest``: the share of the ratings, by time, on which a model is evaluated."""

    seed: int
    movielens: MovielensParams
    data: DataParams
    newest: float
    trainer: str
    trainers: dict[str, dict[str, Any]]
    ranking: RankingParams
    popularity: PopularityParams
    evaluation: EvaluationParams

    @classmethod
    def read(cls, path: Path) -> Params:
        """Read ``path``; raises :class:`SettingsError` that says what is wrong and where."""
        try:
            params = msgspec.yaml.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}; --params names another") from error
        except msgspec.MsgspecError as error:
            raise SettingsError(f"{path}: {error}") from error
        if params.trainer not in params.trainers:
            raise SettingsError(f"{path}: trainer is {params.trainer!r}, which trainers has no section for")
        return params

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
