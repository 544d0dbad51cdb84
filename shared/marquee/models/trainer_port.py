"""The port behind which a model of ratings is learnt, and the trainers by name.

A trainer is one module of this package with a function ``train`` of the type :class:`Trainer`. It is named in
``params.yaml`` (``trainer:``), has its own section of parameters under ``trainers:``, and is listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset
from marquee.errors import SettingsError

TRAINERS = {
    "bayesian_svd": "marquee.models.bpmf.trainer",
    "spark_als": "marquee.models.spark_als",
    "surprise_svd": "marquee.models.surprise_svd",
}

Floats = NDArray[np.float64]
Section = TypeVar("Section", bound=msgspec.Struct)


class Progress(Protocol):
    """Told how far a step is, from 0 to 1."""

    def __call__(self, step: str, done: float) -> None: ...


def no_progress(step: str, done: float) -> None:
    """A progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class UserPrior:
    """What is expected of a user before he has rated: a Gaussian of ``[vector, bias]``, and the noise.

    ``mean`` [k + 1], ``precision`` [k + 1, k + 1]; ``noise_precision``: 1 / the variance of a rating about
    its prediction.
    """

    mean: Floats
    precision: Floats
    noise_precision: float


@dataclass(frozen=True, slots=True)
class RatingFactors:
    """``mean + user_biases[u] + item_biases[i] + user_vectors[u] . item_vectors[i]``, by rows of a dataset.

    An item that nobody rated has zeros. A user who rated nothing has the prior's mean.
    """

    mean: float
    user_biases: Floats  # [n_users]
    user_vectors: Floats  # [n_users, k]
    item_biases: Floats  # [n_items]
    item_vectors: Floats  # [n_items, k]
    prior: UserPrior

    def predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> Floats:
        """The predicted rating of each pair, not clipped."""
        dots = np.einsum("nk,nk->n", self.user_vectors[users], self.item_vectors[items])
        predictions: Floats = self.mean + self.user_biases[users] + self.item_biases[items] + dots
        return predictions


class Trainer(Protocol):
    """Learns from ``dataset``; the same dataset, parameters and seed give the same numbers, bit for bit."""

    def __call__(
        self, dataset: Dataset, params: Mapping[str, Any], seed: int, progress: Progress
    ) -> RatingFactors: ...


def load_trainer(name: str) -> Trainer:
    """The trainer of that name; raises :class:`SettingsError` that lists the names there are."""
    if name not in TRAINERS:
        raise SettingsError(f"there is no trainer {name!r}; there is {', '.join(sorted(TRAINERS))}")
    train: Trainer = import_module(TRAINERS[name]).train
    return train


def read_section(params: Mapping[str, Any], kind: type[Section], name: str) -> Section:
    """A trainer's own parameters, checked; raises :class:`SettingsError`."""
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"params.yaml, trainers.{name}: {error}") from error
