"""Prediction intervals cover their nominal fraction of ratings that they were not calibrated on."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.synthetic_data import dataset

from marquee.data import sources, splits
from marquee.evaluation import offline
from marquee.evaluation.baselines import model_candidate
from marquee.evaluation.prediction_intervals import NOMINAL_COVERAGE, calibrate, is_covered
from marquee.training.params import Params
from marquee.training.train_model import train_model

PARAMS = Params.read(Path(__file__).parents[2] / "params.yaml")


def test_calibrate_known_errors_give_known_quantiles() -> None:
    """Of the errors 1 to 99 the tenth from either end: 80 % lie between, counting the next one."""
    (interval,) = calibrate(np.arange(1.0, 100.0), np.zeros(99, int))
    assert (interval.known, interval.below, interval.above) == (0, 10.0, 90.0)


def test_calibrate_better_known_users_get_narrower_intervals() -> None:
    """Each bin has an interval as wide as its errors, which fall with the number of known ratings."""
    rng = np.random.default_rng(0)
    known = np.repeat([0, 5, 50, 500], 20_000)
    intervals = calibrate(rng.normal(0, np.repeat([4.0, 3.0, 2.0, 1.0], 20_000)), known)
    assert [interval.known for interval in intervals] == [0, 1, 20, 100]
    for interval, spread in zip(intervals, (4, 3, 2, 1), strict=True):
        assert (interval.below, interval.above) == pytest.approx((-1.2816 * spread, 1.2816 * spread), rel=0.05)


def test_calibrate_small_bins_are_merged() -> None:
    """Every number of known ratings has an interval, and none is calibrated on a few ratings."""
    errors = np.linspace(-1, 1, 300)
    assert [interval.known for interval in calibrate(errors, np.full(300, 50))] == [0]
    few_in_last_bin = np.where(np.arange(300) < 295, 0, 200)
    assert [interval.known for interval in calibrate(errors, few_in_last_bin)] == [0]
    assert calibrate(np.empty(0), np.empty(0, int)) == ()


@given(st.integers(0, 2**31), st.integers(400, 3000))
def test_calibrate_new_errors_have_nominal_coverage(seed: int, n: int) -> None:
    """Intervals from skewed errors in bins of any size cover the nominal fraction of ten times as many."""
    rng = np.random.default_rng(seed)
    known = rng.choice([0, 3, 30, 300], 11 * n, p=rng.dirichlet([2] * 4))
    errors = rng.gamma(2.0, 1.0 + known % 7) - 2
    intervals = calibrate(errors[:n], known[:n])
    assert is_covered(intervals, errors[n:], known[n:]).mean() == pytest.approx(NOMINAL_COVERAGE, abs=0.09)


def test_evaluate_movielens_intervals_cover_the_next_slice(base_data: Path) -> None:
    """Intervals from one slice of time cover the errors on the next, of a model trained on the first as well."""
    data = dataset(sources.read_base(base_data, datetime(2000, 1, 1, tzinfo=UTC)).ratings)
    after = splits.temporal_holdout(data, 0.15)
    before = splits.temporal_holdout(after.train, 0.15)
    evaluation = offline.evaluate(train_model(before.train, PARAMS), before, PARAMS.evaluation, 0, "")
    errors, known = offline.residuals(model_candidate(train_model(after.train, PARAMS)), after)
    assert is_covered(evaluation.prediction_intervals, errors, known).mean() == pytest.approx(
        NOMINAL_COVERAGE, abs=0.04
    )
