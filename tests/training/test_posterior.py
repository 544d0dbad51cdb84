"""From many samples to one set of factors that says the same."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from marquee.training import sources, splits
from marquee.training.bayesian_svd.fit import Shape, chain_of
from marquee.training.bayesian_svd.posterior import AlignedMean, MeanPrediction
from marquee.training.dataset import Dataset

WIDTH = 16


def test_rotated_samples_average_to_what_they_all_say() -> None:
    """The same vectors turned at random, over and over: aligned, their mean still predicts the same."""
    rng = np.random.default_rng(0)
    users, films = (rng.standard_normal((n, WIDTH)).astype(np.float32) for n in (30, 40))
    posterior = AlignedMean()
    for _ in range(20):
        turn = np.eye(WIDTH)
        turn[:-1, :-1] = np.linalg.qr(rng.standard_normal((WIDTH - 1, WIDTH - 1)))[0]
        posterior.add((users @ turn).astype(np.float32), (films @ turn).astype(np.float32))
    user, item = np.indices((30, 40)).reshape(2, -1)
    expected = (users[user, :-1] * films[item, :-1]).sum(axis=1) + users[user, -1] + films[item, -1]
    np.testing.assert_allclose(posterior.factors().predict(user, item), expected, atol=1e-3)


def test_the_mean_prediction_is_kept_whole_at_full_rank() -> None:
    rng = np.random.default_rng(0)
    posterior = MeanPrediction(20, 25, 20, 0)
    expected = np.zeros((20, 25))
    for _ in range(11):
        users, films = (rng.standard_normal((n, WIDTH)).astype(np.float32) for n in (20, 25))
        posterior.add(users, films)
        expected += users[:, :-1] @ films[:, :-1].T + users[:, -1:] + films[:, -1]
    user, item = np.indices((20, 25)).reshape(2, -1)
    got = posterior.factors().predict(user, item).reshape(20, 25)
    np.testing.assert_allclose(got, expected / 11, atol=1e-3)


def test_one_set_of_factors_says_what_all_samples_say(base_data: Path) -> None:
    """On a fold of MovieLens the exported factors, whichever way, lose at most .001 of RMSE to the average of the
    predictions of all samples, which could not be served."""
    base = sources.read_base(base_data, datetime(2000, 1, 1, tzinfo=UTC))
    data = Dataset.of(base.ratings, sources.no_rows(), 1.0, 5.0, base.facts)
    split = next(splits.folds(data, 5, 0))
    test, train, shape = split.test, split.train.ratings, (data.n_users, data.n_items)
    facts = (split.train.user_features, split.train.film_features)
    chain = chain_of(train.users, train.items, train.values, shape, *facts, Shape(15, 48, 20), 1)
    exported = (MeanPrediction(*shape, 48, 1), AlignedMean())
    total, samples = np.zeros(len(test)), 80
    for sweep in range(20 + samples):
        chain.sweep()
        if sweep >= 20:
            users, films = chain.users.vectors, chain.films.vectors
            for posterior in exported:
                posterior.add(users, films)
            u, f = users[test.users], films[test.items]
            total += (u[:, :-1] * f[:, :-1]).sum(axis=1) + u[:, -1] + f[:, -1]

    def rmse(predicted: np.ndarray) -> float:
        return float(np.sqrt(np.mean((np.clip(chain.mean + predicted, 1, 5) - test.values) ** 2)))

    everything = rmse(total / samples)
    assert everything < 0.88
    for posterior in exported:
        assert rmse(posterior.factors().predict(test.users, test.items)) < everything + 0.001
