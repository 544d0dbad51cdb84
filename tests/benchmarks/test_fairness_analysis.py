"""The fairness page: statistics by group, ablations, mitigations, and words that follow the intervals."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from benchmarks.fairness import fair_windows, fairness_page, findings, mitigations, user_metrics, variants
from benchmarks.fairness.fairness_results import FairnessAnalysis, GroupRow, MitigationRow
from benchmarks.fairness.group_statistics import Observations, Resampling, compare_groups
from benchmarks.fairness.user_metrics import COVERAGE, MISCALIBRATION, NDCG, RMSE
from tests.support.synthetic_data import blocks, dataset

from marquee.data.dataset import Dataset
from marquee.evaluation import exposure
from marquee.registry.manifest import Metric

ROOT = Path(__file__).parents[2]
N = 120


def observe(offset: float, seed: int = 0) -> Observations:
    """Return five squared errors of each of N users; those of women are higher by ``offset``."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(N), 5)
    women = users % 3 == 0
    sums = rng.normal(1, 0.2, len(users)) ** 2 + offset * women
    labels = {
        "gender": ["F" if woman else "M" for woman in women],
        "age": [f"band {user % 4}" for user in users],
    }
    return Observations(users, sums, np.ones(len(users)), labels, root=True)


RESAMPLING = Resampling.draw(N, 300, 5, 0.95)


def test_compare_groups_worse_group_is_significant() -> None:
    """Women's errors are found, with the difference of the two RMSEs; age bands that are alike are not."""
    observed = observe(0.5)
    rows = {(row.kind, row.group): row for row in compare_groups({RMSE: observed}, RESAMPLING, 20)}
    women = np.array(observed.labels["gender"]) == "F"
    expected = observed.sums[women].mean() ** 0.5 - observed.sums[~women].mean() ** 0.5
    assert rows["gender", "F"].differences[RMSE].value == pytest.approx(expected)
    assert rows["gender", "F"].p_values[RMSE] < 0.001
    assert rows["gender", "M"].p_values == rows["gender", "F"].p_values
    assert min(rows["age", f"band {n}"].p_values[RMSE] for n in range(4)) > 0.05
    assert findings.find_harmed(list(rows.values()))[0][0].group == "F"


def test_compare_groups_without_difference_prints_a_null_result() -> None:
    """If groups are alike, the sentence says that none differs, with the number of tests: four bands and one of two."""
    rows = compare_groups({RMSE: observe(0.0, seed=2)}, RESAMPLING, 20)
    assert findings.find_significant(rows, RMSE) == []
    assert "no group differs from all other users (6 differences" in findings.describe_metric(rows, RMSE)


def test_describe_metric_names_what_the_adjustment_leaves_in_doubt() -> None:
    """A difference whose interval excludes 0 but that is not significant is named as such, and one around 0 is not."""
    rows = [
        GroupRow("age", group, {RMSE: 50}, {}, {RMSE: Metric(low + 0.1, low, low + 0.2)}, {RMSE: 0.2})
        for group, low in (("young", 0.01), ("old", -0.1))
    ]
    text = findings.describe_metric(rows, RMSE)
    assert "none significant" in text
    assert "excludes 0: age *young*" in text
    assert "old" not in text


def test_compare_groups_small_group_is_not_tested() -> None:
    """A group with fewer users than the threshold has a value and no difference."""
    observed = observe(0.5)
    labels = {"gender": ["few" if user < 19 else "many" for user in observed.users]}
    few, many = compare_groups(
        {RMSE: Observations(observed.users, observed.sums, observed.counts, labels)}, RESAMPLING, 20
    )
    assert (few.group, few.users[RMSE], few.differences) == ("few", 19, {})
    assert RMSE in few.values
    assert RMSE in many.differences


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(blocks())


def test_repeat_users_balances_the_ratings(data: Dataset) -> None:
    """Copies of the small group follow all users, with the same ratings; other rows stay."""
    labels = ["F" if user % 4 == 0 else "M" for user in range(data.n_users)]
    repeated = variants.repeat_users(data, labels, 3)
    groups = np.array([*labels, *(["F"] * (repeated.n_users - data.n_users))])
    totals = {g: int((groups[repeated.ratings.users] == g).sum()) for g in "FM"}
    assert totals["F"] == pytest.approx(totals["M"], rel=0.1)
    own = repeated.ratings.users < data.n_users
    np.testing.assert_array_equal(repeated.ratings.items[own], data.ratings.items)
    copied = repeated.ratings.where(repeated.ratings.users == data.n_users)
    original = data.user_ids.index(repeated.user_ids[data.n_users].partition("#")[0])
    np.testing.assert_array_equal(copied.values, data.ratings.where(data.ratings.users == original).values)
    assert len(set(repeated.user_ids)) == repeated.n_users


def test_drop_users_leaves_as_many_ratings_as_the_reference(data: Dataset) -> None:
    """Whole users of the large group are left out; the reference keeps all."""
    labels = np.array(["F" if user % 4 == 0 else "M" for user in range(data.n_users)])
    kept = variants.drop_users(data, labels.tolist(), "M", "F", 3).ratings
    totals = {g: int((labels[kept.users] == g).sum()) for g in "FM"}
    assert totals["F"] == int((labels[data.ratings.users] == "F").sum())
    assert 0.8 * totals["F"] < totals["M"] <= totals["F"]


def test_rerank_calibrated_follows_the_profile() -> None:
    """Without weight the list is that of the scores; with almost all weight it has the genres of the profile."""
    parts = np.zeros((2, 60))
    parts[0, :30], parts[1, 30:] = 1, 1
    scores = -np.arange(60.0)
    scores[2] = -np.inf
    profile = np.array([0.5, 0.5])
    assert mitigations.rerank_calibrated(scores, profile, parts, 0.0).tolist() == [0, 1, *range(3, 11)]
    calibrated = mitigations.rerank_calibrated(scores, profile, parts, 0.99)
    assert (calibrated < 30).sum() == 5
    assert 2 not in calibrated


@pytest.mark.parametrize(("quota", "tail"), [(0, 1), (1, 1), (3, 3), (20, 10)])
def test_fill_quota_reserves_positions(quota: int, tail: int) -> None:
    """At least the quota of the ten is of the tail, the best of each kind, in order of their scores."""
    scores = -np.arange(40.0)
    members = np.arange(40) >= 9
    chosen = mitigations.fill_quota(scores, members, quota)
    assert len(chosen) == 10
    assert members[chosen].sum() == tail
    assert chosen.tolist() == sorted(chosen.tolist())
    assert chosen[~members[chosen]].tolist() == list(range(10 - tail))


def test_divergence_same_shares_is_zero() -> None:
    """A list with the genres of the profile is calibrated; without one of them the divergence is large and finite."""
    profile = np.array([[0.25, 0.75, 0.0]])
    assert user_metrics.divergence(profile, profile)[0] == pytest.approx(0)
    missing = user_metrics.divergence(profile, np.array([[0.0, 1.0, 0.0]]))[0]
    assert 0.5 < missing < 5


def make_mitigation(family: str, ndcg: float, high: float) -> MitigationRow:
    """Return a setting whose loss of NDCG has an interval that ends at ``high``."""
    cost = Metric(ndcg - 0.3, ndcg - 0.32, high)
    others = {"miscalibration": 0.2 if family != mitigations.NONE else 0.5, "tail exposure": 0.1}
    return MitigationRow(mitigations.LISTS, family, "x", Metric(ndcg), Metric(0.9), cost, others)


def test_cheapest_says_if_every_setting_costs_quality() -> None:
    """The sentence follows the interval of the loss: one that contains 0 is no significant loss."""
    served = make_mitigation(mitigations.NONE, 0.3, 0.0)
    costly, free = (make_mitigation(mitigations.CALIBRATED, 0.28, high) for high in (-0.01, 0.01))
    family, effect = mitigations.CALIBRATED, "miscalibration"
    assert "costs NDCG@10" in findings.describe_cheapest([served, costly], family, effect)
    assert "without a significant loss" in findings.describe_cheapest([served, free], family, effect)


def test_find_harmed_better_group_is_not_harmed() -> None:
    """A higher NDCG and a lower RMSE are no harm; a lower coverage and a higher miscalibration are."""
    metrics = {RMSE: -0.1, NDCG: 0.1, COVERAGE: -0.1, MISCALIBRATION: 0.1}
    differences = {name: Metric(value) for name, value in metrics.items()}
    row = GroupRow("gender", "F", dict.fromkeys(metrics, 50), {}, differences, dict.fromkeys(metrics, 0.01))
    assert [metric for _, metric in findings.find_harmed([row])] == [COVERAGE, MISCALIBRATION]


def test_fairness_page_is_that_of_its_results() -> None:
    """docs/fairness.md and its charts are those of the committed results; ``make fairness`` writes both."""
    results = msgspec.json.decode((ROOT / fairness_page.RESULTS).read_bytes(), type=FairnessAnalysis)
    for path, content in fairness_page.render_files(results).items():
        assert (ROOT / path).read_text() == content, f"{path}: run python -m benchmarks.fairness --page-only"
    assert results.seed
    assert f"{results.data}" in (ROOT / fairness_page.PAGE).read_text()


def test_group_by_genre_parts_add_up_to_one() -> None:
    """A movie of two genres counts half for each, one without genre is unknown; decades are single groups."""
    movies = [{"genres": "Drama|War", "year": "1994"}, {"genres": "", "year": "1931"}, {"genres": "War"}]
    genres, decades = fair_windows.group_by_genre(movies), fair_windows.group_by_decade(movies)
    assert genres.names == ("Drama", "War", "unknown")
    np.testing.assert_array_equal(genres.parts, [[0.5, 0, 0], [0.5, 0, 1], [0, 1, 0]])
    assert decades.names == ("1990s", "before 1950", "unknown")
    lists = np.array([[0, 2]])
    exposed = exposure.total_exposure(lists, 3)
    assert (genres.parts @ exposed).sum() == pytest.approx(exposed.sum())
