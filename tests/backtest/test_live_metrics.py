"""Tests of the metrics and their paired intervals, on answers known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from marquee.backtest.live_metrics import Cells, compare_each, event_metrics
from marquee.evaluation.bootstrap import EvaluationParams

PARAMS = EvaluationParams(300, 0.95)


def test_event_metrics_equal_hand_calculation() -> None:
    """Position 1 has gain 1, position 3 a half, 11 counts for recall@20 alone; without a list there is no gain."""
    predicted, ratings = np.array([4.0, 2.0, np.nan, 3.0]), np.array([5.0, 2.0, 4.0, 1.0])
    values = event_metrics(predicted, ratings, np.array([1, 3, 11, -1]))
    np.testing.assert_allclose(values["rmse"], [1, 0, np.nan, 4])
    np.testing.assert_allclose(values["ndcg@10"], [1, 0.5, 0, np.nan])
    np.testing.assert_allclose(values["recall@20"], [1, 1, 1, np.nan])


def test_compare_each_shared_difficulty_cancels() -> None:
    """Errors differ by users as much as by events; a candidate that is always a little better is told apart."""
    rng = np.random.default_rng(0)
    users, cuts = rng.integers(0, 50, 4000), rng.integers(0, 8, 4000)
    error = rng.normal(0, 1, 4000) * (0.3 + users / 25)
    cells, none = Cells(users, cuts, PARAMS, 1), np.full(4000, -1)
    own, other = (event_metrics(scale * error, np.zeros(4000), none) for scale in (0.98, 1.0))
    found = compare_each(cells, own, other)["rmse"]
    metric = compare_each(cells, own)["rmse"]
    assert metric.low is not None
    assert metric.high is not None
    assert found.value == pytest.approx(-0.02 * np.sqrt(np.mean(error**2)))
    assert found.low is not None
    assert found.high is not None
    assert found.high < 0
    assert metric.high - metric.low > 5 * (found.high - found.low), "the interval of the metric itself is wide"


def test_compare_each_equal_candidates_contains_zero() -> None:
    """Two candidates with independent errors of the same size are not told apart."""
    rng = np.random.default_rng(2)
    cells, none = Cells(rng.integers(0, 60, 3000), rng.integers(0, 6, 3000), PARAMS, 1), np.full(3000, -1)
    own, other = (event_metrics(rng.normal(0, 1, 3000), np.zeros(3000), none) for _ in range(2))
    assert not compare_each(cells, own, other)["rmse"].excludes_zero


def test_cells_few_cuts_widen_the_interval() -> None:
    """Errors that differ by cut: resampling users alone would miss that."""
    rng = np.random.default_rng(3)
    users, cuts = rng.integers(0, 400, 8000), rng.integers(0, 5, 8000)
    values = rng.normal(0, 0.1, 8000) + np.array([0.0, 1.0, 2.0, 3.0, 4.0])[cuts]
    with_cuts = Cells(users, cuts, PARAMS, 1).compare(values)
    users_only = Cells(users, np.zeros(8000, int), PARAMS, 1).compare(values)
    widths = [(m.high or 0) - (m.low or 0) for m in (with_cuts, users_only)]
    assert widths[0] > 5 * widths[1]
