"""Intervals hold the share of the ratings that they promise, also of ratings that they were not made from."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.synthetic_data import dataset

from marquee.data import movielens, sources, splits
from marquee.evaluation import offline
from marquee.evaluation.baselines import model_candidate
from marquee.evaluation.prediction_intervals import NOMINAL_COVERAGE, calibrate, coverage
from marquee.training.params import Params
from marquee.training.train_model import train_model

ROOT = Path(__file__).parents[2]
PARAMS = Params.read(ROOT / "params.yaml")


def test_quantiles_by_hand() -> None:
    """Of the errors 1 to 99 the tenth from either end: 80 % lie between, and one more for the next."""
    (band,) = calibrate(np.arange(1.0, 100.0), np.zeros(99, int))
    assert (band.known, band.below, band.above) == (0, 10.0, 90.0)


def test_who_is_known_better_gets_a_narrower_interval() -> None:
    """Errors of a spread that falls with what is known: one band a bin, each as wide as its errors."""
    rng = np.random.default_rng(0)
    known = np.repeat([0, 5, 50, 500], 20_000)
    prediction_intervals = calibrate(rng.normal(0, np.repeat([4.0, 3.0, 2.0, 1.0], 20_000)), known)
    assert [band.known for band in prediction_intervals] == [0, 1, 20, 100]
    for band, spread in zip(prediction_intervals, (4, 3, 2, 1), strict=True):
        assert (band.below, band.above) == pytest.approx((-1.2816 * spread, 1.2816 * spread), rel=0.05)


def test_bins_with_few_ratings_go_with_the_next() -> None:
    """However the ratings lie there is a band for everybody, and none is made of a handful."""
    errors = np.linspace(-1, 1, 300)
    assert [band.known for band in calibrate(errors, np.full(300, 50))] == [0]
    few_of_old = np.where(np.arange(300) < 295, 0, 200)
    assert [band.known for band in calibrate(errors, few_of_old)] == [0]
    assert calibrate(np.empty(0), np.empty(0, int)) == ()


@given(st.integers(0, 2**31), st.integers(400, 3000))
def test_new_errors_fall_within(seed: int, n: int) -> None:
    """Skewed errors of bins of any size: of ten times as many new ones the promised share is inside."""
    rng = np.random.default_rng(seed)
    known = rng.choice([0, 3, 30, 300], 11 * n, p=rng.dirichlet([2] * 4))
    errors = rng.gamma(2.0, 1.0 + known % 7) - 2
    prediction_intervals = calibrate(errors[:n], known[:n])
    assert coverage(prediction_intervals, errors[n:], known[n:]).mean() == pytest.approx(
        NOMINAL_COVERAGE, abs=0.09
    )


def test_coverage_on_movielens() -> None:
    """Bands from a slice of time, on the slice after it with a model trained through the first."""
    base = ROOT / "data/movielens-100k"
    movielens.fetch(base, ROOT / "requirements/movielens.txt", PARAMS.movielens.sha256)
    data = dataset(sources.read_base(base, datetime(2000, 1, 1, tzinfo=UTC)).ratings)
    after = splits.temporal_holdout(data, 0.15)
    before = splits.temporal_holdout(after.train, 0.15)
    evaluation = offline.evaluate(train_model(before.train, PARAMS), before, PARAMS.evaluation, 0, "")
    errors, known = offline.errors_and_known(model_candidate(train_model(after.train, PARAMS)), after)
    assert coverage(evaluation.prediction_intervals, errors, known).mean() == pytest.approx(
        NOMINAL_COVERAGE, abs=0.04
    )
