"""Port of the rating trainers, and the registry of trainers by name.

A trainer is a module with a function ``fit`` of the type :class:`Trainer`. ``params.yaml`` selects it (``trainer:``)
and holds its parameters (``trainers.<name>:``). :data:`TRAINERS` lists its module.
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
from marquee.scoring.level_drift import NO_DRIFT, Drift

TRAINERS = {
    "bpmf": "marquee.models.bpmf.trainer",
    "surprise_svd": "marquee.models.surprise_svd",
}

Floats = NDArray[np.float64]
Section = TypeVar("Section", bound=msgspec.Struct)


class ProgressCallback(Protocol):
    """Callback that receives the progress of a step, from 0 to 1."""

    def __call__(self, step: str, done: float) -> None:
        """Report that ``step`` is ``done``, from 0 to 1."""


def no_progress(step: str, done: float) -> None:
    """Ignore the progress."""


@dataclass(frozen=True, slots=True)
class UserPrior:
    """Gaussian prior of a user's ``[vector, bias]``, and the noise of a rating.

    ``mean`` [k + 1], ``precision`` [k + 1, k + 1]. ``noise_precision`` is the inverse variance of a rating about
    its prediction. ``implicit`` [n_items, k + 1]: implicit feedback of :mod:`marquee.scoring.fold_in`, None for none.
    """

    mean: Floats
    precision: Floats
    noise_precision: float
    implicit: Floats | None = None
    drift: Drift = NO_DRIFT


@dataclass(frozen=True, slots=True)
class RatingFactors:
    """Rating model ``mean + user_biases[u] + item_biases[i] + user_vectors[u] . item_vectors[i]``.

    Rows are those of the dataset. An item without ratings has zeros. A user without ratings has the prior's mean.
    """

    mean: float
    user_biases: Floats  # [n_users]
    user_vectors: Floats  # [n_users, k]
    item_biases: Floats  # [n_items]
    item_vectors: Floats  # [n_items, k]
    prior: UserPrior

    def predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> Floats:
        """Return the predicted rating of each pair, not clipped."""
        dots = np.einsum("nk,nk->n", self.user_vectors[users], self.item_vectors[items])
        predictions: Floats = self.mean + self.user_biases[users] + self.item_biases[items] + dots
        return predictions


class Trainer(Protocol):
    """Function that fits a rating model; equal dataset, parameters and seed give equal bits."""

    def __call__(
        self, dataset: Dataset, params: Mapping[str, Any], seed: int, progress: ProgressCallback
    ) -> RatingFactors:
        """Fit the model. ``params`` is the trainer's section of ``params.yaml``, not yet checked."""
        ...


def load_trainer(name: str) -> Trainer:
    """Import the trainer ``name``. Raises :class:`SettingsError` if it is not known."""
    if name not in TRAINERS:
        raise SettingsError(f"there is no trainer {name!r}; there is {', '.join(sorted(TRAINERS))}")
    fit: Trainer = import_module(TRAINERS[name]).fit
    return fit


def read_section(params: Mapping[str, Any], kind: type[Section], path: str) -> Section:
    """Convert a section of ``params.yaml`` to its struct.

    ``path`` names the section in the error, such as ``trainers.bpmf``. Raises :class:`SettingsError` for a wrong
    type and for a missing or unknown name.
    """
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"params.yaml, {path}: {error}") from error
