"""A whole run: features, sweeps within a budget, one set of factors at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from marquee.errors import TrainingDataError
from marquee.models.bpmf import checkpoint
from marquee.models.bpmf.feature_blocks import implicit, rotate
from marquee.models.bpmf.posterior import Factors, Posterior, posterior_for
from marquee.models.bpmf.sampler import Float32, Sampler


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to sample. ``seconds``: stop after about that long, if not all ``sweeps`` are done by then.

    Only a budget of sweeps alone gives the same numbers again.
    """

    sweeps: int = 200
    burn_in: int = 20
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ModelShape:
    """``factors``: K of the sampler, rounded up to 15, 31, 47 and so on. ``served_rank``: of what is
    exported. ``feature_rank``: how many singular directions of the implicit feedback are kept.
    """

    factors: int = 31
    served_rank: int = 64
    feature_rank: int = 100


@dataclass(frozen=True, slots=True)
class Fit:
    """What a run found. ``noise_precision``: one over the variance of a rating about its prediction."""

    mean: float
    factors: Factors
    noise_precision: float
    sweeps: int


def fit(
    user: NDArray[np.integer],
    item: NDArray[np.integer],
    rating: NDArray[np.floating],
    size: tuple[int, int],
    *,
    user_features: Sequence[NDArray[np.float64]] = (),
    item_features: Sequence[NDArray[np.float64]] = (),
    shape: ModelShape | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, sweeps: None,
    checkpoint_path: Path | None = None,
    checkpoint_every_s: float = 30.0,
) -> Fit:
    """Fit ``rating`` [ratings] of pairs ``user``, ``item`` of a matrix of ``size`` (users, items).

    ``user_features`` and ``item_features`` are blocks [rows, features]; of a row of zeros nothing is
    known. With ``checkpoint_path`` a run that was killed goes on, and ends as it would have. Raises
    :class:`TrainingDataError` for ratings from which nothing can be learnt.
    """
    shape, budget = shape or ModelShape(), budget or Budget()
    check_ratings(user, item, rating, size)
    # How BLAS cuts a product for its threads shows in the last bits; our own kernel uses all cores anyway.
    with threadpool_limits(1, user_api="blas"):
        return _run(
            make_sampler(user, item, rating, size, user_features, item_features, shape, seed),
            posterior_for(*size, shape.served_rank, seed),
            _key(user, item, rating, size, [*user_features, *item_features], shape, budget, seed),
            budget,
            progress,
            checkpoint_path,
            checkpoint_every_s,
        )


def _run(
    chain: Sampler,
    posterior: Posterior,
    key: str,
    budget: Budget,
    progress: Callable[[int, int], None],
    checkpoint_path: Path | None,
    checkpoint_every_s: float,
) -> Fit:
    if checkpoint_path:
        checkpoint.load(checkpoint_path, key, chain, posterior)
    began = saved = time.monotonic()
    while chain.sweeps < budget.sweeps:
        chain.sweep()
        if chain.sweeps > min(budget.burn_in, budget.sweeps - 1):
            posterior.add(chain.users.vectors, chain.items.vectors)
        progress(chain.sweeps, budget.sweeps)
        now = time.monotonic()
        if checkpoint_path and now - saved > checkpoint_every_s:
            checkpoint.save(checkpoint_path, key, chain, posterior)
            saved = now
        if budget.seconds is not None and now - began > budget.seconds and posterior.samples:
            break
    if checkpoint_path:
        checkpoint_path.unlink(missing_ok=True)
    return Fit(chain.mean, posterior.factors(), chain.alpha, chain.sweeps)


def check_ratings(
    user: NDArray[np.integer], item: NDArray[np.integer], rating: NDArray[np.floating], size: tuple[int, int]
) -> None:
    """Raise :class:`TrainingDataError` for ratings from which nothing can be learnt."""
    if not len(rating):
        raise TrainingDataError("there are no ratings to learn from")
    bad = ~np.isfinite(rating)
    if bad.any():
        raise TrainingDataError(f"{int(bad.sum())} of {len(rating)} ratings are not finite numbers")
    if float(np.ptp(rating)) == 0.0:
        raise TrainingDataError(
            f"all {len(rating)} ratings are {float(rating[0]):g}: nothing can be learnt from them"
        )
    for name, rows, count in (("user", user, size[0]), ("item", item, size[1])):
        if len(rows) != len(rating) or int(rows.min()) < 0 or int(rows.max()) >= count:
            raise TrainingDataError(f"each rating needs one {name} of 0 to {count - 1}")


def make_sampler(
    user: NDArray[np.integer],
    item: NDArray[np.integer],
    rating: NDArray[np.floating],
    size: tuple[int, int],
    user_features: Sequence[NDArray[np.float64]],
    item_features: Sequence[NDArray[np.float64]],
    shape: ModelShape,
    seed: int,
) -> Sampler:
    """A chain at its beginning, with the implicit feedback and the features in its priors."""
    chain = Sampler(user, item, rating, size, factors=shape.factors, seed=seed)
    for side, other, features in (
        (chain.users, chain.items, user_features),
        (chain.items, chain.users, item_features),
    ):
        blocks: list[Float32] = [
            rotate(implicit(side.start, side.column, other.rows), shape.feature_rank, seed)
        ]
        blocks += [rotate(block, shape.feature_rank, seed) for block in features if block.any()]
        side.explain_by(blocks)
    return chain


def _key(
    user: NDArray[np.integer],
    item: NDArray[np.integer],
    rating: NDArray[np.floating],
    size: tuple[int, int],
    features: Sequence[NDArray[np.float64]],
    shape: ModelShape,
    budget: Budget,
    seed: int,
) -> str:
    digest = hashlib.sha256(repr((size, astuple(shape), budget.burn_in, seed)).encode())
    for array in (user, item, rating, *features):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
