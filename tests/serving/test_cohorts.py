"""Users without a history: what their group prefers, and what they say that they like."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from tests.serving.models import corrupt, group_of, movie_id_of, released, two_tastes, written

from marquee.errors import ArtifactRefused
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.cohort_scores import demographic_cohorts
from marquee.serving.customer_client import Customer
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.engine import Cohorts, Engine, Tier
from marquee.serving.exploration import NO_EXPLORATION
from marquee.serving.recommender import CUSTOMERS_UNAVAILABLE, Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.stated_interests import find_cohorts, find_genres
from marquee.serving.user_state import EMPTY

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def with_cohorts(n_items: int = 60) -> TrainedModel:
    """Writers prefer movies of group 1, and comedies are those of group 0."""
    group = np.arange(n_items) % 2
    scores = np.stack([4.0 * group, 4.0 * (1 - group)]).astype(np.float32)
    return replace(
        two_tastes(n_items), cohort_names=["occupation:writer", "genre:comedy"], cohort_scores=scores
    )


@pytest.fixture
def knowing(store: FileStore) -> Engine:
    return Engine.load(store, written(store, with_cohorts()))


def groups(engine: Engine, cohorts: Cohorts) -> tuple[Tier, list[int]]:
    tier, movies, _ = engine.explore(EMPTY, 20, NO_EXPLORATION, cohorts)
    assert len({f.movie_id for f in movies}) == 20
    return tier, [group_of(f.movie_id) for f in movies]


def test_a_group_gets_what_it_prefers_the_popular_first(knowing: Engine) -> None:
    assert groups(knowing, [("occupation:writer", 1.0)]) == (Tier.COHORT, [1] * 20)
    assert groups(knowing, [("genre:comedy", 1.0)]) == (Tier.COHORT, [0] * 20)
    assert knowing.explore(EMPTY, 2, NO_EXPLORATION, [("genre:comedy", 1.0)])[1][0].movie_id == movie_id_of(0)


def test_dislikes_count_against(knowing: Engine) -> None:
    assert groups(knowing, [("genre:comedy", -1.0)])[1] == [1] * 20


def test_a_group_that_the_artifact_does_not_know_says_nothing(knowing: Engine, engine: Engine) -> None:
    """Nor does any group to an artifact without groups: popular movies, as before."""
    assert groups(knowing, [("occupation:farmer", 1.0)])[0] == Tier.POPULAR
    assert groups(engine, [("occupation:writer", 1.0)])[0] == Tier.POPULAR


def test_who_has_a_history_is_not_judged_by_his_group(store: FileStore) -> None:
    """The customer service is not even asked."""
    released(store, with_cohorts())
    asked: list[str] = []

    def of(user_id: str) -> Cohorts:
        asked.append(user_id)
        return [("occupation:writer", 1.0)]

    cache = ReleaseCache(store, 60)
    service = Recommender(
        cache, objects=DeadlineExecutor("objects", deadline_ms=1_000), cohorts=of, wait_s=30
    )
    assert service.answer("1000", NOW).tier == Tier.PERSONALISED
    assert service.answer("77", NOW).tier == Tier.COHORT
    assert asked == ["77"]


def test_without_the_customer_service_popular_movies_and_a_note(store: FileStore) -> None:
    released(store, with_cohorts())

    def of(user_id: str) -> Cohorts:
        raise Unavailable("away")

    service = Recommender(
        ReleaseCache(store, 60), objects=DeadlineExecutor("objects", deadline_ms=1_000), cohorts=of, wait_s=30
    )
    answer = service.answer("77", NOW)
    assert (answer.tier, answer.notes, len(answer.movies)) == (Tier.POPULAR, (CUSTOMERS_UNAVAILABLE,), 20)


@pytest.mark.parametrize("file", ["cohorts.json", "cohort_scores.npy"])
def test_damaged_cohorts_are_refused(store: FileStore, file: str) -> None:
    version = written(store, with_cohorts())
    corrupt(store, version, file)
    with pytest.raises(ArtifactRefused, match=file):
        Engine.load(store, version)


def test_cohorts_of_another_shape_are_not_written(store: FileStore) -> None:
    wrong = replace(with_cohorts(), cohort_scores=np.zeros((1, 60), np.float32))
    with pytest.raises(ArtifactRefused, match="cohort_scores"):
        written(store, wrong)


def test_words_of_a_text() -> None:
    text = "I LOVE science fiction, scary movies and rom-coms; romantic comedies too! Comedies."
    assert find_genres(text) == ("sci-fi", "horror", "romance", "comedy")
    assert find_genres("nothing in particular, warm movies") == ()


def test_cohorts_of_a_customer() -> None:
    customer = Customer(7, 31, "Writer", "F", "comedies", "war movies")
    assert find_cohorts(customer) == (
        ("age:25-34", 1.0),
        ("gender:f", 1.0),
        ("occupation:writer", 1.0),
        ("genre:comedy", 1.0),
        ("genre:war", -1.0),
    )
    assert find_cohorts(Customer(7)) == ()


@pytest.mark.parametrize(
    ("age", "band"), [(0, "0-17"), (17, "0-17"), (18, "18-24"), (54, "45-54"), (90, "55-")]
)
def test_age_bands(age: int, band: str) -> None:
    assert demographic_cohorts(age, "", "") == (f"age:{band}",)
