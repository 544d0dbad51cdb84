"""What groups prefer, counted from histories and facts: on a world where it is known."""

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


def world(views: int) -> TrainedModel:
    """Users 1000, 1002, ... have seen only item 0, the others only item 1, each ``views`` times' weight."""
    users = np.arange(6)
    histories = Histories.from_entries(6, users, users % 2, np.full(6, 4.0), np.full(6, float(views)))
    return replace(two_group_model(n_items=4), histories=histories)


FACTS = SideInformation(
    users={str(1000 + u): (WRITER, FARMER)[u % 2] for u in range(6)},
    movies={make_movie_id(0): {"genres": "Comedy|War"}, make_movie_id(3): {"genres": "Comedy"}},
)


def test_groups_prefer_what_their_members_have_seen() -> None:
    """With much evidence a group's own item is twice as likely as for everybody (it has half of all
    views), and the other group's hardly at all."""
    model = with_cohorts(world(10**8), FACTS)
    scores = dict(zip(model.cohort_names, model.cohort_scores, strict=True))
    assert scores["occupation:writer"][0] == pytest.approx(np.log(2), abs=0.01)
    assert scores["occupation:writer"][1] < -5
    assert scores["gender:m"][1] == pytest.approx(np.log(2), abs=0.01)
    assert set(model.cohort_names) >= {"age:25-34", "age:55-", "gender:f", "occupation:farmer"}
    model.check()


def test_a_small_group_is_not_taken_at_its_word() -> None:
    """Three views of one item beside the prior's weight move it by what the formula says, and no more."""
    model = with_cohorts(world(1), FACTS)
    row = model.cohort_scores[list(model.cohort_names).index("occupation:writer")]
    assert row[0] == pytest.approx(np.log((3 + PRIOR_STRENGTH / 2) / (3 + PRIOR_STRENGTH) / 0.5), rel=1e-5)
    assert row[2] == row[3] == 0  # Seen by nobody: no preference.


def test_genres_are_items_of_the_genre() -> None:
    model = with_cohorts(world(1), FACTS)
    scores = dict(zip(model.cohort_names, model.cohort_scores.tolist(), strict=True))
    assert scores["genre:comedy"] == [GENRE_LOG_ODDS, 0, 0, GENRE_LOG_ODDS]
    assert scores["genre:war"] == [GENRE_LOG_ODDS, 0, 0, 0]


def test_without_facts_the_model_stays_as_it_is() -> None:
    model = world(1)
    assert with_cohorts(model, SideInformation()) is model
