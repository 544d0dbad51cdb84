"""The reduction of samples to one set of factors keeps their mean prediction."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks import user_splits
from marquee.data import interaction_frames, sources
from marquee.data.dataset import Dataset
from marquee.models.bpmf.gibbs import BpmfParams, create_sampler
from marquee.models.bpmf.posterior import CompressedMean, MeanPrediction, Posterior, truncate_svd

WIDTH = 16


def test_compressed_mean_rotated_samples_keep_their_prediction() -> None:
    """Samples that differ by a rotation only have a mean that predicts the same."""
    rng = np.random.default_rng(0)
    users, items = (rng.standard_normal((n, WIDTH)).astype(np.float32) for n in (30, 40))
    posterior = CompressedMean(30, 40, WIDTH)
    for _ in range(20):
        rotation = np.eye(WIDTH)
        rotation[:-1, :-1] = np.linalg.qr(rng.standard_normal((WIDTH - 1, WIDTH - 1)))[0]
        posterior.add((users @ rotation).astype(np.float32), (items @ rotation).astype(np.float32))
    user, item = np.indices((30, 40)).reshape(2, -1)
    expected = (users[user, :-1] * items[item, :-1]).sum(axis=1) + users[user, -1] + items[item, -1]
    np.testing.assert_allclose(posterior.factors().predict(user, item), expected, atol=1e-3)


@pytest.mark.parametrize("posterior", [MeanPrediction(20, 25, 20, 0), CompressedMean(20, 25, 20)])
def test_posterior_full_rank_keeps_the_mean_prediction(posterior: Posterior) -> None:
    """Different samples, in full and partial batches, lose nothing if the rank is sufficient."""
    rng = np.random.default_rng(0)
    expected = np.zeros((20, 25))
    for _ in range(11):
        users, items = (rng.standard_normal((n, WIDTH)).astype(np.float32) for n in (20, 25))
        posterior.add(users, items)
        expected += users[:, :-1] @ items[:, :-1].T + users[:, -1:] + items[:, -1]
    user, item = np.indices((20, 25)).reshape(2, -1)
    predicted = posterior.factors().predict(user, item).reshape(20, 25)
    np.testing.assert_allclose(predicted, expected / 11, atol=1e-3)


@pytest.mark.parametrize("kind", [MeanPrediction, CompressedMean])
def test_posterior_restored_state_gives_same_bits(kind: type[MeanPrediction] | type[CompressedMean]) -> None:
    """This holds in the middle of a batch of pending samples too."""
    rng = np.random.default_rng(0)
    samples = [[rng.standard_normal((n, WIDTH)).astype(np.float32) for n in (20, 25)] for _ in range(11)]

    def create() -> Posterior:
        return CompressedMean(20, 25, 4) if kind is CompressedMean else MeanPrediction(20, 25, 4, 0)

    uninterrupted, killed, resumed = create(), create(), create()
    for users, items in samples:
        uninterrupted.add(users, items)
    for users, items in samples[:5]:
        killed.add(users, items)
    resumed.restore(killed.state())
    assert resumed.samples == 5
    for users, items in samples[5:]:
        resumed.add(users, items)
    for actual, expected in zip(astuple(resumed.factors()), astuple(uninterrupted.factors()), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_truncate_svd_gives_best_approximation() -> None:
    """The result equals the truncated SVD of the full product, which the function never forms."""
    rng = np.random.default_rng(0)
    scale = np.float32(2.0) ** -np.arange(12, dtype=np.float32)
    left, right = (rng.standard_normal((n, 12)).astype(np.float32) for n in (50, 40))
    left *= scale
    u, sizes, vt = np.linalg.svd(left.astype(np.float64) @ right.T)
    best = u[:, :5] * sizes[:5] @ vt[:5]
    new_left, new_right = truncate_svd(left, right, 5)
    assert (new_left.shape, new_right.shape) == ((50, 5), (40, 5))
    np.testing.assert_allclose(new_left @ new_right.T, best, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(new_left, axis=0), np.linalg.norm(new_right, axis=0), rtol=1e-4)


@pytest.mark.parametrize(("factors", "samples"), [(15, 80), (31, 80)])
def test_posterior_movielens_factors_are_as_good_as_all_samples(base_data: Path, factors: int, samples: int) -> None:
    """On a fold of MovieLens each reduction loses at most 0.001 of RMSE to the mean prediction of all samples."""
    base = sources.read_base(base_data, datetime(2000, 1, 1, tzinfo=UTC))
    data = Dataset.from_frames(base.ratings, interaction_frames.empty_interactions(), 1.0, 5.0, base.side_information)
    split = next(user_splits.k_folds(data, 5, 0))
    test, train, shape = split.test, split.train.ratings, (data.n_users, data.n_items)
    features = (split.train.user_features, split.train.item_features)
    chain = create_sampler(train.users, train.items, train.values, shape, *features, BpmfParams(factors, 48, 20), 1)
    exported = (MeanPrediction(*shape, 48, 1), CompressedMean(*shape, 48))
    total, pairs = np.zeros(len(test)), (test.users, test.items)
    with threadpool_limits(1, user_api="blas"):  # As in training.
        for sweep in range(20 + samples):
            chain.sweep()
            if sweep >= 20:
                users, items = chain.users.vectors, chain.items.vectors
                for posterior in exported:
                    posterior.add(users, items)
                u, f = users[pairs[0]], items[pairs[1]]
                total += (u[:, :-1] * f[:, :-1]).sum(axis=1) + u[:, -1] + f[:, -1]

    def rmse(predicted: np.ndarray) -> float:
        return float(np.sqrt(np.mean((np.clip(chain.mean + predicted, 1, 5) - test.values) ** 2)))

    all_samples = rmse(total / samples)
    assert all_samples < 0.88
    for posterior in exported:
        assert rmse(posterior.factors().predict(*pairs)) < all_samples + 0.001
