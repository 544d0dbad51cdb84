"""Tests of exact tests: their e-values are martingales, and they find what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from marquee.experiments.exact_tests import (
    SAMPLE_RATIO_LIMIT,
    log_e_coin,
    log_e_sample_ratio,
    select_by_e_values,
)

PATHS, TOSSES = 2000, 400


@pytest.mark.parametrize("tosses", [1, 7, 60])
def test_log_e_coin_expectation_of_a_fair_coin_is_one(tosses: int) -> None:
    """Summed over all outcomes with their probabilities, the e-value is 1 exactly."""
    heads = np.arange(tosses + 1)
    e = np.exp(log_e_coin(heads, tosses - heads))
    assert float(e @ stats.binom.pmf(heads, tosses, 0.5)) == pytest.approx(1)
    assert float(e @ stats.binom.pmf(heads, tosses, 0.4)) <= 1


def test_log_e_coin_fair_paths_reach_twenty_in_five_percent_at_most() -> None:
    """At every toss of 2,000 paths (Ville); of a coin of 80 % heads most paths reach it within 40 tosses."""
    tosses = np.random.default_rng(3).random((PATHS, TOSSES))
    for heads, low, high in ((0.5, 0.005, 0.05), (0.8, 0.9, 1.0)):
        counts = (tosses[:, : 40 if heads > 0.5 else TOSSES] < heads).cumsum(1)
        e = log_e_coin(counts, np.arange(1, counts.shape[1] + 1) - counts)
        assert low <= float((e.max(1) >= math.log(20)).mean()) <= high


def test_log_e_sample_ratio_expectation_of_the_weights_is_one() -> None:
    """Two arms of 30 and 70 %, summed over all outcomes."""
    first = np.arange(51)
    e = np.exp(log_e_sample_ratio(np.stack([first, 50 - first], -1), [0.3, 0.7]))
    assert float(e @ stats.binom.pmf(first, 50, 0.3)) == pytest.approx(1)


def test_log_e_sample_ratio_finds_a_split_of_48_to_52() -> None:
    """Looked at every 100 users to 20,000: one of 1,000 sound experiments at most, nine of ten with 48 : 52."""
    rng = np.random.default_rng(4)
    for fraction, low, high in ((0.5, 0.0, 0.001), (0.48, 0.9, 1.0)):
        first = rng.binomial(100, fraction, (1000, 200)).cumsum(1)
        looks = np.stack([first, np.arange(100, 20_001, 100) - first], -1)
        invalid = (log_e_sample_ratio(looks, [0.5, 0.5]) >= math.log(SAMPLE_RATIO_LIMIT)).any(1).mean()
        assert low <= invalid <= high


def test_select_by_e_values_takes_all_that_reach_the_common_limit() -> None:
    """e-BH: the k-th largest of m e-values must reach m / (k alpha)."""
    log_e = {"asks": math.log(41), "late": math.log(2.0), "minutes": math.log(60), "all": math.log(39)}
    assert select_by_e_values(log_e) == ["minutes", "asks", "all"]
    assert select_by_e_values({"asks": math.log(19), "late": math.log(39.9)}) == []
    assert select_by_e_values({}) == []


def test_select_by_e_values_false_selections_of_dependent_metrics_are_rare() -> None:
    """Ten metrics of one cause without an effect: at most one in twenty experiments selects any."""
    common = np.random.default_rng(5).standard_normal(2000)
    e = 2.5 * common - 2.5**2 / 2  # The likelihood ratio of N(2.5, 1) and N(0, 1): an e-value.
    selected = [select_by_e_values({str(k): float(one) for k in range(10)}) for one in e]
    assert 0 < np.mean([bool(names) for names in selected]) <= 0.05


def test_select_by_e_values_false_discovery_rate_beside_real_effects_is_five_percent_at_most() -> None:
    """Ten metrics that share half of their variance, four of them with an effect: the mean share of false selections,
    and the power beside it, so that the test can fail."""
    rng, runs, shift = np.random.default_rng(6), 2000, 3.5
    common, own = rng.standard_normal((runs, 1)), rng.standard_normal((runs, 10))
    scores = (common + own) / math.sqrt(2) + shift * (np.arange(10) < 4)
    log_e = shift * scores - shift**2 / 2
    false, found = [], []
    for row in log_e:
        selected = [int(name) for name in select_by_e_values({str(k): float(one) for k, one in enumerate(row)})]
        false.append(sum(k >= 4 for k in selected) / max(len(selected), 1))
        found.append(sum(k < 4 for k in selected) / 4)
    assert 0 < np.mean(false) <= 0.05
    assert np.mean(found) >= 0.5
