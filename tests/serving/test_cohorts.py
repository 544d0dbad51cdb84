"""Tests of lists for users without a history: cohorts and stated interests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from tests.serving.models import (
    flip_last_bit,
    get_group,
    make_movie_id,
    release_model,
    store_model,
    two_group_model,
)

from marquee.errors import ArtifactRefused
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.cohort_scores import demographic_cohorts
from marquee.serving.customer_client import Customer
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.engine import Engine
from marquee.serving.list_builder import ListContext
from marquee.serving.list_request import PLAIN
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.scored_movie import Cohorts, Tier
from marquee.serving.stated_interests import find_cohorts, find_genres
from marquee.serving.user_readers import CUSTOMERS_UNAVAILABLE
from marquee.serving.user_state import EMPTY

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def make_cohort_model(n_items: int = 60) -> TrainedModel:
    """Return a model whose writers prefer movies of group 1, and whose comedies are those of group 0."""
    group = np.arange(n_items) % 2
    scores = np.stack([4.0 * group, 4.0 * (1 - group)]).astype(np.float32)
    return replace(two_group_model(n_items), cohort_names=["occupation:writer", "genre:comedy"], cohort_scores=scores)


@pytest.fixture
def cohort_engine(store: FileStore) -> Engine:
    return Engine.load(store, store_model(store, make_cohort_model()))


def recommend_groups(engine: Engine, cohorts: Cohorts) -> tuple[Tier, list[int]]:
    """Return the tier and the group of each movie."""
    result = engine.make_list(EMPTY, PLAIN, ListContext(cohorts=cohorts))
    tier, movies = result.tier, result.movies
    assert len({f.movie_id for f in movies}) == 20
    return tier, [get_group(f.movie_id) for f in movies]


def test_explore_cohort_returns_preferred_movies_popular_first(cohort_engine: Engine) -> None:
    """Writers get group 1 and fans of comedies group 0."""
    assert recommend_groups(cohort_engine, [("occupation:writer", 1.0)]) == (Tier.COHORT, [1] * 20)
    assert recommend_groups(cohort_engine, [("genre:comedy", 1.0)]) == (Tier.COHORT, [0] * 20)
    comedies = cohort_engine.make_list(EMPTY, PLAIN, ListContext(cohorts=[("genre:comedy", 1.0)]))
    assert comedies.movies[0].movie_id == make_movie_id(0)


def test_explore_negative_weight_avoids_the_genre(cohort_engine: Engine) -> None:
    """A dislike of comedies leaves the other group."""
    assert recommend_groups(cohort_engine, [("genre:comedy", -1.0)])[1] == [1] * 20


def test_explore_unknown_cohort_returns_popular_movies(cohort_engine: Engine, engine: Engine) -> None:
    """So does any cohort for an artifact without cohorts."""
    assert recommend_groups(cohort_engine, [("occupation:farmer", 1.0)])[0] == Tier.POPULAR
    assert recommend_groups(engine, [("occupation:writer", 1.0)])[0] == Tier.POPULAR


def test_answer_user_with_history_ignores_cohorts(store: FileStore) -> None:
    """The customer service is not even called."""
    release_model(store, make_cohort_model())
    calls: list[str] = []

    def read_cohorts(user_id: str) -> Cohorts:
        calls.append(user_id)
        return [("occupation:writer", 1.0)]

    cache = ReleaseCache(store, 60)
    service = Recommender(
        cache, objects=DeadlineExecutor("objects", deadline_ms=1_000), cohorts=read_cohorts, wait_s=30
    )
    assert service.answer("1000", NOW).tier == Tier.PERSONALISED
    assert service.answer("77", NOW).tier == Tier.COHORT
    assert calls == ["77"]


def test_answer_customer_service_unavailable_returns_popular_movies(store: FileStore) -> None:
    """The note names the service."""
    release_model(store, make_cohort_model())

    def read_cohorts(user_id: str) -> Cohorts:
        raise Unavailable("away")

    service = Recommender(
        ReleaseCache(store, 60),
        objects=DeadlineExecutor("objects", deadline_ms=1_000),
        cohorts=read_cohorts,
        wait_s=30,
    )
    answer = service.answer("77", NOW)
    assert (answer.tier, answer.notes, len(answer.movies)) == (Tier.POPULAR, (CUSTOMERS_UNAVAILABLE,), 20)


@pytest.mark.parametrize("file", ["cohorts.json", "cohort_scores.npy"])
def test_load_corrupt_cohorts_are_refused(store: FileStore, file: str) -> None:
    """The error names the file."""
    version = store_model(store, make_cohort_model())
    flip_last_bit(store, version, file)
    with pytest.raises(ArtifactRefused, match=file):
        Engine.load(store, version)


def test_write_artifact_wrong_cohort_shape_is_refused(store: FileStore) -> None:
    """One row of scores for two cohorts."""
    wrong = replace(make_cohort_model(), cohort_scores=np.zeros((1, 60), np.float32))
    with pytest.raises(ArtifactRefused, match="cohort_scores"):
        store_model(store, wrong)


def test_find_genres_free_text_returns_distinct_genres() -> None:
    """Synonyms, plurals and phrases, in the order of the text."""
    text = "I LOVE science fiction, scary movies and rom-coms; romantic comedies too! Comedies."
    assert find_genres(text) == ("sci-fi", "horror", "romance", "comedy")
    assert find_genres("nothing in particular, warm movies") == ()


def test_find_cohorts_combines_demographics_and_interests() -> None:
    """A disliked genre has a negative weight; unknown values add no cohort."""
    customer = Customer(7, 31, "Writer", "F", "comedies", "war movies")
    assert find_cohorts(customer) == (
        ("age:25-34", 1.0),
        ("gender:f", 1.0),
        ("occupation:writer", 1.0),
        ("genre:comedy", 1.0),
        ("genre:war", -1.0),
    )
    assert find_cohorts(Customer(7)) == ()


@pytest.mark.parametrize(("age", "band"), [(0, "0-17"), (17, "0-17"), (18, "18-24"), (54, "45-54"), (90, "55-")])
def test_demographic_cohorts_age_is_in_its_band(age: int, band: str) -> None:
    """The bounds of the bands."""
    assert demographic_cohorts(age, "", "") == (f"age:{band}",)
