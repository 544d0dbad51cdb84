"""The memory of an evaluation is bounded by its chunks, whatever the number of users."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from benchmarks.large_data import large_model, large_split
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from marquee.evaluation import group_fairness, metrics, offline
from marquee.evaluation.baselines import model_candidate
from marquee.evaluation.bootstrap import EvaluationParams, resample_ratios
from marquee.evaluation.group_fairness import FairnessParams

MB = 1 << 20
USERS, ITEMS = 20_000, 5_000
QUICK = EvaluationParams(resamples=100, interval=0.95)


@contextmanager
def peak_below(limit: int) -> Iterator[None]:
    """Fail if the block allocates ``limit`` bytes or more at any moment."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / MB:.0f} MB at the peak; at most {limit / MB:.0f} MB are allowed"


def test_rank_many_users_keeps_no_array_of_all_items() -> None:
    """Lists of 20,000 users over 5,000 items take a tenth of the 800 MB of their scores."""
    split = large_split(USERS, ITEMS)
    candidate = model_candidate(large_model(split))
    with peak_below(160 * MB):
        ranking = offline.rank(candidate, split)
    assert len(ranking.users) > USERS / 2
    assert ranking.recommended.base is None or ranking.recommended.base.nbytes <= ranking.recommended.nbytes


def test_evaluate_many_users_has_bounded_memory() -> None:
    """The whole evaluation of 20,000 users, groups included, stays below 200 MB."""
    split = large_split(USERS, ITEMS)
    model = large_model(split)
    with peak_below(200 * MB):
        offline.evaluate(model, split, QUICK, 1, "digest")
        group_fairness.evaluate_groups(model, split, {}, FairnessParams(min_users=10), QUICK, 1, "digest")


def test_resample_ratios_a_million_users_has_bounded_memory() -> None:
    """Bootstrap weights of a million users are drawn a few resamples at a time."""
    n = 1_000_000
    sums, counts = np.ones(n), np.full(n, 2.0)
    with peak_below(150 * MB):
        ratios = resample_ratios([sums, sums], counts, 12, 7)
    np.testing.assert_allclose(ratios, 0.5)


def test_resample_ratios_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The draws are the same, however few resamples are held at once."""
    sums, counts = np.arange(50.0), np.ones(50)
    together = resample_ratios([sums], counts, 40, 7)
    monkeypatch.setattr("marquee.evaluation.bootstrap._CHUNK_CELLS", 150)
    np.testing.assert_allclose(resample_ratios([sums], counts, 40, 7), together, rtol=1e-14)


def test_predict_in_chunks_has_equal_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a chunk does not change a predicted rating."""
    split = large_split(500, 60)
    candidate = model_candidate(large_model(split))
    assert candidate.rate
    monkeypatch.setattr(offline, "_RATING_CHUNK", 7)
    expected = candidate.rate(split.test.users, split.test.items)
    np.testing.assert_array_equal(offline.predict(candidate, split.test), expected)


@given(
    numpy_strategies.arrays(np.float64, (3, 12), elements=st.sampled_from([0.0, 1.0, 2.5, np.nan, -np.inf])),
    numpy_strategies.arrays(np.bool_, (3, 12)),
    st.integers(0, 15),
)
def test_top_unseen_equals_a_stable_sort(scores: np.ndarray, seen: np.ndarray, length: int) -> None:
    """Ties, seen items and NaN have the places that a stable sort of all items gives them."""
    whole = np.argsort(np.where(seen, np.inf, -scores), axis=1, kind="stable")[:, :length]
    np.testing.assert_array_equal(metrics.top_unseen(scores, seen, length), whole)
