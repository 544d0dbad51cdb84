"""The parameters of the ranking model are chosen on the data's own past, reproducibly and within a budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from benchmarks.fixed_parameters import compare
from benchmarks.planted_world import World, planted_dataset
from tests.support.synthetic_data import blocks, dataset
from tests.training.runs import GOOD, PARAMS, retrain_until, write_block_ratings

from marquee.data.interactions import WeightedInteractions, like_threshold
from marquee.data.splits import temporal_holdout
from marquee.evaluation import offline
from marquee.evaluation.baselines import model_candidate
from marquee.models.ease import EaseParams
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.params import Params
from marquee.training.train_model import train_model
from marquee.training.tuning import (
    DROPOUT,
    GRID,
    HALF_LIFE,
    PRIOR,
    RIDGE,
    TREND,
    WEIGHT,
    TuningChoice,
    choose_parameters,
    select_section,
)
from marquee.training.tuning_cuts import Cut, TuningParams, take

EASE = msgspec.convert(PARAMS.rankers["ease"], EaseParams)
STILL = World(1500, 250, 40_000, clusters=20, trend=0.0)
SPARSE = World(8000, 400, 40_000, clusters=40, taste=0.4)
DATA = planted_dataset(STILL)


def choose(previous: TuningChoice | None = None, *, params: Params = PARAMS, **tuning: float) -> TuningChoice:
    return choose_parameters(
        DATA,
        EASE,
        params.popularity,
        msgspec.structs.replace(params.tuning, **tuning),
        0.1,
        1,
        previous or TuningChoice(),
    )


@pytest.fixture(scope="module")
def choice() -> TuningChoice:
    """The choice on a world without trends."""
    return choose()


def test_choose_parameters_without_trends_leaves_the_trend_terms(choice: TuningChoice) -> None:
    """If popularity does not change, the configured trend exponent of 1 with 14 days is not kept."""
    assert choice.ndcg["chosen"] > 1.05 * choice.ndcg["start"]
    assert choice.chosen[TREND] < 1 or choice.chosen[HALF_LIFE] > 14 or choice.chosen[PRIOR] > 1000
    assert choice.start == choice.configured
    assert choice.users >= 50
    assert choice.cuts == PARAMS.tuning.cuts


def test_choose_parameters_equal_data_give_equal_choices(choice: TuningChoice) -> None:
    """No clock is involved: the same data and seed give the same choice and the same figures."""
    assert choose() == choice


def test_choose_parameters_starts_from_the_previous_choice(choice: TuningChoice) -> None:
    """The next retraining starts where the last one ended and needs no more candidates."""
    following = choose(choice)
    assert following.start == choice.chosen
    assert following.ndcg["chosen"] >= choice.ndcg["chosen"]
    assert following.candidates <= choice.candidates


def test_choose_parameters_other_configured_values_start_from_them(choice: TuningChoice) -> None:
    """A change of params.yaml takes effect: the choice made with the values before is no start."""
    popularity = msgspec.structs.replace(PARAMS.popularity, half_life_days=21.0)
    following = choose(choice, params=msgspec.structs.replace(PARAMS, popularity=popularity), budget_s=0.01)
    assert following.start[HALF_LIFE] == 21.0
    assert following.start[TREND] == EASE.trend_exponent


def test_choose_parameters_budget_bounds_the_candidates(choice: TuningChoice) -> None:
    """A tenth of the effort compares fewer candidates; none keeps the configured values and says so."""
    assert 1 < choose(budget_s=0.1).candidates < choice.candidates
    nothing = choose(budget_s=0)
    assert nothing.chosen == {}
    assert "budget_s is 0" in nothing.note


def test_choose_parameters_few_users_keeps_the_configured_values() -> None:
    """With fewer users than a comparison needs there is no choice, and the note says how many there were."""
    data = dataset(blocks(2, 5, 6))
    result = choose_parameters(data, EASE, PARAMS.popularity, PARAMS.tuning, 0.1, 1)
    assert result.chosen == {}
    assert "too few" in result.note


def test_choose_parameters_sparse_users_is_not_worse_than_popularity() -> None:
    """With five ratings a user the lists are not worse than the popular one beyond the interval of 95 %.

    The comparison is on the evaluated slice, which the choice has not seen.
    """
    comparison = compare(SPARSE, with_fixed=False)
    difference = comparison.chosen - comparison.popular
    assert difference.mean() + 1.96 * difference.std() / np.sqrt(len(difference)) > 0
    assert comparison.chosen.mean() > comparison.configured.mean() - 1.96 * difference.std() / np.sqrt(len(difference))


def test_cut_measures_what_is_served() -> None:
    """The NDCG of a cut is that of the model that training makes with these parameters, evaluated offline."""
    chosen = {TREND: 0.5, WEIGHT: 0.25, HALF_LIFE: 30.0, PRIOR: 100.0, RIDGE: 100.0, DROPOUT: 0.1}
    split = temporal_holdout(DATA, 0.1)
    model = train_model(split.train, GOOD, chosen=chosen)
    served = offline.ranking_by_user(model_candidate(model), split)["ndcg@10"]
    known = WeightedInteractions.from_dataset(split.train)
    later = WeightedInteractions.from_dataset(replace(split.train, ratings=split.test))
    liked = take(later, later.ratings >= like_threshold(split.train))
    size = TuningParams(0, 1, max_movies=10_000, max_ratings=10**9, max_users=10_000)
    cut = Cut(known, liked, (DATA.n_users, DATA.n_items), [30.0], size, 0)
    scores = cut.score(chosen[RIDGE], chosen[DROPOUT], EASE.rank - 1, GOOD.seed)
    measured = cut.measure(scores, cut.popularity(30.0, 100.0), chosen[TREND], chosen[WEIGHT])
    assert len(measured) == len(served)
    assert measured.mean() == pytest.approx(served.mean(), abs=0.003)


def test_select_section_names_the_values_of_one_section() -> None:
    """Paths of other sections are left out."""
    chosen = {RIDGE: 3.0, HALF_LIFE: 7.0}
    assert select_section(chosen, "rankers.ease") == {"ridge": 3.0}
    assert select_section(chosen, "popularity") == {"half_life_days": 7.0}
    assert select_section(chosen, "rankers.pure_svd") == {}


def test_grid_names_parameters_of_the_committed_file() -> None:
    """Every tuned parameter is in params.yaml, and its configured value lies within its grid."""
    plain = Params.read(Path(__file__).parents[2] / "params.yaml").as_dict()
    for path, values in GRID.items():
        section = plain
        *sections, name = path.split(".")
        for part in sections:
            section = section[part]
        assert min(values) <= section[name] <= max(values)


def test_retrain_records_the_choice_and_starts_from_it_next_time(tmp_path: Path) -> None:
    """The manifest has the choice, the model was made with it, and the next retraining starts from it."""
    store = connect((tmp_path / "objects").as_uri())
    base = write_block_ratings(tmp_path / "base", users=60)
    first = retrain_until(store, base, 900)
    recorded = _read_choice(store, first.version)
    assert recorded.chosen
    second = retrain_until(store, base, 1000)
    assert first.outcome == second.outcome == "released"
    following = _read_choice(store, second.version)
    assert following.start == recorded.chosen
    untuned = msgspec.structs.replace(GOOD, tuning=msgspec.structs.replace(GOOD.tuning, budget_s=0))
    third = retrain_until(store, base, 1000, untuned, releasing=False)
    assert (third.version == second.version) == (following.chosen == following.configured)


def _read_choice(store: ObjectStore, version: str | None) -> TuningChoice:
    assert version
    return msgspec.convert(read_manifest(store, version).provenance.tuning, TuningChoice)
