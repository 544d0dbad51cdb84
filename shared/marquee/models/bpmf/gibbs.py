"""Fit of BPMF: feature blocks, Gibbs sweeps within a budget, and one set of factors at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from marquee.errors import TrainingDataError
from marquee.models.bpmf import checkpoint
from marquee.models.bpmf.feature_blocks import build_implicit_block, rotate
from marquee.models.bpmf.posterior import Factors, create_posterior
from marquee.models.bpmf.sampler import Float32, Sampler


class BpmfParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of BPMF.

    - ``factors``: of the sampler, rounded up to 15, 31, 47 ...
    - ``served_rank``: of the exported factors
    - ``feature_rank``: singular directions kept of each feature block
    - ``sweeps``: Gibbs sweeps, of which the first ``burn_in`` are discarded
    - ``seconds``: time limit; a fit that reaches it is not reproducible
    - ``checkpoint``: file from which a killed fit resumes, with the same bits
    """

    factors: int = 31
    served_rank: int = 48
    feature_rank: int = 100
    sweeps: int = 200
    burn_in: int = 20
    seconds: float | None = None
    checkpoint: str | None = None


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
    params: BpmfParams,
    *,
    user_features: Sequence[NDArray[np.float64]] = (),
    item_features: Sequence[NDArray[np.float64]] = (),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    checkpoint_every_s: float = 30.0,
) -> BpmfFit:
    """Fit ``rating`` [ratings] of the pairs ``user``, ``item`` in a matrix of ``size`` (users, items).

    ``user_features`` and ``item_features`` are blocks [rows, features]; a row of zeros is unknown. ``progress`` is
    called with the number of sweeps done and their total. Raises :class:`TrainingDataError` for ratings that cannot
    be fitted.
    """
    check_ratings(user, item, rating, size)
    path = Path(params.checkpoint) if params.checkpoint else None
    # BLAS splits a product by its number of threads, which changes the last bits. The compiled kernel uses all cores.
    with threadpool_limits(1, user_api="blas"):
        chain = create_sampler(user, item, rating, size, user_features, item_features, params, seed)
        posterior = create_posterior(*size, params.served_rank, seed)
        if path:
            inputs = (size, params.factors, params.served_rank, params.feature_rank, params.burn_in, seed)
            key = _digest(inputs, [user, item, rating, *user_features, *item_features])
            checkpoint.load_checkpoint(path, key, chain, posterior)
        started = saved = time.monotonic()
        while chain.sweeps < params.sweeps:
            chain.sweep()
            if chain.sweeps > min(params.burn_in, params.sweeps - 1):
                posterior.add(chain.users.vectors, chain.items.vectors)
            if progress:
                progress(chain.sweeps, params.sweeps)
            now = time.monotonic()
            if path and now - saved > checkpoint_every_s:
                checkpoint.save_checkpoint(path, key, chain, posterior)
                saved = now
            if params.seconds is not None and now - started > params.seconds and posterior.samples:
                break
        if path:
            path.unlink(missing_ok=True)
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
    params: BpmfParams,
    seed: int,
) -> Sampler:
    """Return a chain at its start, with implicit feedback and feature blocks in its priors."""
    chain = Sampler(user, item, rating, size, factors=params.factors, seed=seed)
    for side, other, features in (
        (chain.users, chain.items, user_features),
        (chain.items, chain.users, item_features),
    ):
        implicit = build_implicit_block(side.start, side.column, other.rows)
        blocks: list[Float32] = [rotate(implicit, params.feature_rank, seed)]
        blocks += [rotate(block, params.feature_rank, seed) for block in features if block.any()]
        side.set_features(blocks)
    return chain


def _digest(inputs: object, arrays: Sequence[NDArray[np.generic]]) -> str:
    digest = hashlib.sha256(repr(inputs).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
