"""Fit of BPMF: feature blocks, Gibbs sweeps within a budget, and one set of factors at the end."""

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
from marquee.models.bpmf.feature_blocks import build_implicit_block, rotate
from marquee.models.bpmf.posterior import Factors, Posterior, create_posterior
from marquee.models.bpmf.sampler import Float32, Sampler


@dataclass(frozen=True, slots=True)
class Budget:
    """Length of the chain.

    ``seconds``: stop after about that time, if not all ``sweeps`` are done. Only a budget without ``seconds`` is
    reproducible.
    """

    sweeps: int = 200
    burn_in: int = 20
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Ranks of the model.

    - ``factors``: K of the sampler, rounded up to 15, 31, 47 ...
    - ``served_rank``: of the exported factors
    - ``feature_rank``: singular directions kept of each feature block
    """

    factors: int = 31
    served_rank: int = 64
    feature_rank: int = 100


@dataclass(frozen=True, slots=True)
class BpmfFit:
    """Result of a fit. ``noise_precision`` is the inverse variance of a rating about its prediction."""

    mean: float
    factors: Factors
    noise_precision: float
    sweeps: int


def fit_bpmf(
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
    progress: Callable[[int, int], None] | None = None,
    checkpoint_path: Path | None = None,
    checkpoint_every_s: float = 30.0,
) -> BpmfFit:
    """Fit ``rating`` [ratings] of the pairs ``user``, ``item`` in a matrix of ``size`` (users, items).

    ``user_features`` and ``item_features`` are blocks [rows, features]; a row of zeros is unknown. ``progress`` is
    called with the number of sweeps done and their total. With
    ``checkpoint_path`` a killed fit resumes and gives the same bits. Raises :class:`TrainingDataError` for ratings
    that cannot be fitted.
    """
    shape, budget = shape or ModelShape(), budget or Budget()
    check_ratings(user, item, rating, size)
    # BLAS splits a product by its number of threads, which changes the last bits. The compiled kernel uses all cores.
    with threadpool_limits(1, user_api="blas"):
        return _run_chain(
            create_sampler(user, item, rating, size, user_features, item_features, shape, seed),
            create_posterior(*size, shape.served_rank, seed),
            _checkpoint_key(user, item, rating, size, [*user_features, *item_features], shape, budget, seed),
            budget,
            progress,
            checkpoint_path,
            checkpoint_every_s,
        )


def _run_chain(
    chain: Sampler,
    posterior: Posterior,
    key: str,
    budget: Budget,
    progress: Callable[[int, int], None] | None,
    checkpoint_path: Path | None,
    checkpoint_every_s: float,
) -> BpmfFit:
    if checkpoint_path:
        checkpoint.load_checkpoint(checkpoint_path, key, chain, posterior)
    started = saved = time.monotonic()
    while chain.sweeps < budget.sweeps:
        chain.sweep()
        if chain.sweeps > min(budget.burn_in, budget.sweeps - 1):
            posterior.add(chain.users.vectors, chain.items.vectors)
        if progress:
            progress(chain.sweeps, budget.sweeps)
        now = time.monotonic()
        if checkpoint_path and now - saved > checkpoint_every_s:
            checkpoint.save_checkpoint(checkpoint_path, key, chain, posterior)
            saved = now
        if budget.seconds is not None and now - started > budget.seconds and posterior.samples:
            break
    if checkpoint_path:
        checkpoint_path.unlink(missing_ok=True)
    return BpmfFit(chain.mean, posterior.factors(), chain.alpha, chain.sweeps)


def check_ratings(
    user: NDArray[np.integer], item: NDArray[np.integer], rating: NDArray[np.floating], size: tuple[int, int]
) -> None:
    """Raise :class:`TrainingDataError` for no ratings, constant or non-finite ones, and rows out of range."""
    if not len(rating):
        raise TrainingDataError("there are no ratings to learn from")
    bad = ~np.isfinite(rating)
    if bad.any():
        raise TrainingDataError(f"{int(bad.sum())} of {len(rating)} ratings are not finite numbers")
    if float(np.ptp(rating)) == 0.0:
        raise TrainingDataError(f"all {len(rating)} ratings are {float(rating[0]):g}: nothing can be learnt from them")
    for name, rows, count in (("user", user, size[0]), ("item", item, size[1])):
        if len(rows) != len(rating) or int(rows.min()) < 0 or int(rows.max()) >= count:
            raise TrainingDataError(f"each rating needs one {name} of 0 to {count - 1}")


def create_sampler(
    user: NDArray[np.integer],
    item: NDArray[np.integer],
    rating: NDArray[np.floating],
    size: tuple[int, int],
    user_features: Sequence[NDArray[np.float64]],
    item_features: Sequence[NDArray[np.float64]],
    shape: ModelShape,
    seed: int,
) -> Sampler:
    """Return a chain at its start, with implicit feedback and feature blocks in its priors."""
    chain = Sampler(user, item, rating, size, factors=shape.factors, seed=seed)
    for side, other, features in (
        (chain.users, chain.items, user_features),
        (chain.items, chain.users, item_features),
    ):
        implicit = build_implicit_block(side.start, side.column, other.rows)
        blocks: list[Float32] = [rotate(implicit, shape.feature_rank, seed)]
        blocks += [rotate(block, shape.feature_rank, seed) for block in features if block.any()]
        side.set_features(blocks)
    return chain


def _checkpoint_key(
    user: NDArray[np.integer],
    item: NDArray[np.integer],
    rating: NDArray[np.floating],
    size: tuple[int, int],
    features: Sequence[NDArray[np.float64]],
    shape: ModelShape,
    budget: Budget,
    seed: int,
) -> str:
    """Return a digest of everything that determines the chain."""
    digest = hashlib.sha256(repr((size, astuple(shape), budget.burn_in, seed)).encode())
    for array in (user, item, rating, *features):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
