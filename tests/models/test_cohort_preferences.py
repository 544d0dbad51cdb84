"""Cohort preferences are counted from histories and side information, where the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.serving.models import make_movie_id, two_group_model

from marquee.data.side_information import SideInformation
from marquee.models.cohort_preferences import GENRE_LOG_ODDS, PRIOR_STRENGTH, with_cohorts
from marquee.registry.trained_model import Histories, TrainedModel

WRITER = {"age": "30", "gender": "F", "occupation": "writer"}
FARMER = {"age": "60", "gender": "M", "occupation": "farmer"}


def model_of_two_groups(weight: float) -> TrainedModel:
    """Return a model in which users 1000, 1002 ... have seen only item 0, all others only item 1."""
    users = np.arange(6)
    histories = Histories.from_entries(6, users, users % 2, np.full(6, 4.0), np.full(6, weight))
    return replace(two_group_model(n_items=4), histories=histories)


SIDE_INFORMATION = SideInformation(
    users={str(1000 + u): (WRITER, FARMER)[u % 2] for u in range(6)},
    movies={make_movie_id(0): {"genres": "Comedy|War"}, make_movie_id(3): {"genres": "Comedy"}},
)


def test_with_cohorts_groups_prefer_the_items_of_their_members() -> None:
    """With much data a group's own item, half of all weight, is twice as likely as for the population."""
    model = with_cohorts(model_of_two_groups(1e8), SIDE_INFORMATION)
    scores = dict(zip(model.cohort_names, model.cohort_scores, strict=True))
    assert scores["occupation:writer"][0] == pytest.approx(np.log(2), abs=0.01)
    assert scores["occupation:writer"][1] < -5
    assert scores["gender:m"][1] == pytest.approx(np.log(2), abs=0.01)
    assert set(model.cohort_names) >= {"age:25-34", "age:55-", "gender:f", "occupation:farmer"}
    model.check()


def test_with_cohorts_small_group_is_shrunk_to_the_population() -> None:
    """Three interactions move the score by the formula with the prior's weight."""
    model = with_cohorts(model_of_two_groups(1.0), SIDE_INFORMATION)
    row = model.cohort_scores[list(model.cohort_names).index("occupation:writer")]
    assert row[0] == pytest.approx(np.log((3 + PRIOR_STRENGTH / 2) / (3 + PRIOR_STRENGTH) / 0.5), rel=1e-5)
    assert row[2] == row[3] == 0  # No interactions: no preference.


def test_with_cohorts_genre_scores_its_items() -> None:
    """A genre raises its own items by a constant, and no others."""
    model = with_cohorts(model_of_two_groups(1.0), SIDE_INFORMATION)
    scores = dict(zip(model.cohort_names, model.cohort_scores.tolist(), strict=True))
    assert scores["genre:comedy"] == [GENRE_LOG_ODDS, 0, 0, GENRE_LOG_ODDS]
    assert scores["genre:war"] == [GENRE_LOG_ODDS, 0, 0, 0]


def test_with_cohorts_no_side_information_returns_same_model() -> None:
    """The model is returned unchanged."""
    model = model_of_two_groups(1.0)
    assert with_cohorts(model, SideInformation()) is model


def test_with_cohorts_only_named_attributes_have_cohorts() -> None:
    """Age and sex are no cohorts unless they are named; the genres of the movies always are."""
    model = two_group_model()
    users = {user_id: {"age": "30", "gender": "F", "occupation": "writer"} for user_id in model.user_ids}
    side_information = SideInformation(users, {movie_id: {"genres": "Drama"} for movie_id in model.movie_ids})
    for attributes, expected in (
        (["genres", "occupation"], ["genre:drama", "occupation:writer"]),
        (["genres"], ["genre:drama"]),
    ):
        assert list(with_cohorts(model, side_information.limited_to(attributes)).cohort_names) == expected
