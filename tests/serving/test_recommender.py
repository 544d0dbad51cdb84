"""Tests of the recommender: an answer for every user, whichever services are unavailable."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.serving.fakes import FlakyStore
from tests.serving.models import (
    TRAINED_THROUGH,
    flip_last_bit,
    get_group,
    make_movie_id,
    release_model,
    store_model,
    two_group_model,
)

from marquee.db.user_history import History, RatedMovie, WatchedMovie
from marquee.errors import DatabaseUnavailable, NothingToRecommend
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.rollout import canary
from marquee.serving.answer import Answer
from marquee.serving.circuit_breaker import CircuitBreaker
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.popular_movies import PopularMovies
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.scored_movie import Tier

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NONE = History((), ())


class FakeDatabase:
    """Histories and popular movies, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.histories: dict[str, History] = {}
        self.movies: list[tuple[str, float]] = []
        self.calls: list[tuple[str, datetime | None]] = []

    def history_of(self, user_id: str, since: datetime | None) -> History:
        self.calls.append((user_id, since))
        if self.away:
            raise Unavailable("the database is away, in this test")
        return self.histories.get(user_id, NONE)

    def popular(self, limit: int) -> list[tuple[str, float]]:
        if self.away:
            raise Unavailable("the database is away, in this test")
        return self.movies[:limit]


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
def cache(flaky: FlakyStore) -> ReleaseCache:
    """A cache without a thread: it refreshes while nothing is loaded, and when a test says so."""
    return ReleaseCache(flaky, refresh_s=3_600, background=False)


@pytest.fixture
def recommender(cache: ReleaseCache, database: FakeDatabase) -> Recommender:
    popular = PopularMovies(database.popular, refresh_s=0)
    objects = DeadlineExecutor("object store", deadline_ms=10_000, threads=1, breaker=CircuitBreaker(failures=1_000))
    return Recommender(cache, objects=objects, history=database.history_of, popular=popular)


def list_ids(answer: Answer) -> list[str]:
    return [movie.movie_id for movie in answer.movies]


def test_answer_names_its_provenance(store: FileStore, recommender: Recommender) -> None:
    """Arm, version, release, tier and an id of its own."""
    version = release_model(store)
    answer = recommender.answer("1000", NOW)
    assert (answer.arm, answer.version, answer.release, answer.tier) == (
        "control",
        version,
        1,
        Tier.PERSONALISED,
    )
    assert (answer.user_id, answer.time, answer.notes) == ("1000", NOW, ())
    assert list_ids(answer)[:3] == [make_movie_id(4), make_movie_id(6), make_movie_id(8)]
    assert answer.recommendation_id != recommender.answer("1000", NOW).recommendation_id


def test_impression_equals_the_answer(store: FileStore, recommender: Recommender) -> None:
    """Movies, ratings and propensities are those that were shown."""
    release_model(store)
    answer = recommender.answer("1000", NOW)
    impression = answer.impression()
    assert (impression.id, impression.time, impression.tier) == (
        answer.recommendation_id,
        NOW,
        "personalised",
    )
    assert [(f.movie_id, f.rating, f.propensity) for f in impression.movies] == [
        (f.movie_id, f.rating, 1.0) for f in answer.movies
    ]


def test_answer_reads_only_history_since_training(
    store: FileStore, recommender: Recommender, database: FakeDatabase
) -> None:
    """For a stored user from shortly before the end of the training data, for others all of it."""
    release_model(store)
    recommender.answer("1000", NOW)
    recommender.answer("77", NOW)
    (stored, since), unknown = database.calls
    assert stored == "1000"
    assert since is not None
    assert TRAINED_THROUGH - timedelta(hours=1) < since < TRAINED_THROUGH
    assert unknown == ("77", None)


def test_answer_new_watch_or_rating_counts_at_once(
    store: FileStore, recommender: Recommender, database: FakeDatabase
) -> None:
    """A watch of one group, then a rating of the other, changes the next list."""
    release_model(store)
    assert recommender.answer("77", NOW).tier == Tier.POPULAR
    database.histories["77"] = History((), (WatchedMovie(make_movie_id(9), 1, NOW),))
    answer = recommender.answer("77", NOW)
    assert answer.tier == Tier.FOLDED_IN
    assert {get_group(movie) for movie in list_ids(answer)} == {1}
    database.histories["77"] = History((RatedMovie(make_movie_id(8), 5, NOW),), ())
    assert {get_group(movie) for movie in list_ids(recommender.answer("77", NOW))} == {0}


def test_answer_database_unavailable_uses_the_artifact(
    store: FileStore, recommender: Recommender, database: FakeDatabase
) -> None:
    """The note names the database."""
    release_model(store)
    database.away = True
    known, unknown = recommender.answer("1000", NOW), recommender.answer("77", NOW)
    assert (known.tier, known.notes) == (Tier.PERSONALISED, ("database-unavailable",))
    assert (unknown.tier, len(unknown.movies)) == (Tier.POPULAR, 20)


def test_answer_store_unavailable_uses_the_loaded_release(
    store: FileStore, flaky: FlakyStore, cache: ReleaseCache, recommender: Recommender, database: FakeDatabase
) -> None:
    """A cached user is answered from memory; another one from all of the database's history."""
    release_model(store)
    before = recommender.answer("1000", NOW)
    flaky.away = True
    cache.refresh()
    again, other = recommender.answer("1000", NOW), recommender.answer("1001", NOW)
    assert list_ids(again) == list_ids(before)
    assert again.notes == other.notes == ("object-store-unavailable",)
    assert (other.tier, len(other.movies)) == (Tier.POPULAR, 20)
    assert database.calls[-1] == ("1001", None)


def test_answer_store_and_database_unavailable_is_a_full_list(
    store: FileStore, flaky: FlakyStore, cache: ReleaseCache, recommender: Recommender, database: FakeDatabase
) -> None:
    """Both notes are given."""
    release_model(store)
    recommender.answer("1000", NOW)
    flaky.away = database.away = True
    cache.refresh()
    answer = recommender.answer("1001", NOW)
    assert (answer.tier, len(set(list_ids(answer)))) == (Tier.POPULAR, 20)
    assert set(answer.notes) == {"object-store-unavailable", "database-unavailable"}


def test_answer_refused_release_is_noted(store: FileStore, cache: ReleaseCache, recommender: Recommender) -> None:
    """The previous version answers."""
    old = release_model(store)
    recommender.answer("1000", NOW)
    flip_last_bit(store, release_model(store, two_group_model(mean=3.5), NOW), "item_biases.npy")
    cache.refresh()
    answer = recommender.answer("1000", NOW)
    assert (answer.version, answer.notes) == (old, ("release-refused",))


def test_answer_corrupt_record_is_treated_as_missing(store: FileStore, recommender: Recommender) -> None:
    """Every user still gets a full list."""
    version = release_model(store)
    recommender.answer("77", NOW)
    flip_last_bit(store, version, "users.bin")
    answers = [recommender.answer(str(1000 + u), NOW) for u in range(6)]
    assert {len(answer.movies) for answer in answers} == {20}
    assert Tier.POPULAR in {answer.tier for answer in answers}


def test_answer_bug_in_scoring_returns_the_last_resort(
    store: FileStore, recommender: Recommender, database: FakeDatabase
) -> None:
    """The list is the artifact's popular one, and the note says so."""
    release_model(store)
    database.histories["1000"] = "no history at all"  # type: ignore[assignment]
    answer = recommender.answer("1000", NOW)
    assert (answer.tier, answer.notes) == (Tier.LAST_RESORT, ("scoring-failed",))
    assert list_ids(answer) == [make_movie_id(i) for i in range(20)]


def test_answer_uses_the_users_arm(store: FileStore, recommender: Recommender) -> None:
    """Each answer has the arm and the version that the release assigns."""
    release_model(store)
    release = canary(store, store_model(store, two_group_model(mean=3.5), NOW), weight=0.5, author="test")
    by_arm = {arm.name: arm.version for arm in release.arms}
    answers = [recommender.answer(str(user), NOW) for user in range(50)]
    assert {answer.arm for answer in answers} == {"control", "canary"}
    assert all(a.arm == release.assign(a.user_id).name and a.version == by_arm[a.arm] for a in answers)


def test_answer_outside_the_experiment_is_of_the_first_arms_version(store: FileStore, recommender: Recommender) -> None:
    """Users who are not enrolled get an answer of the arm ``outside`` with the version that served before."""
    before = release_model(store)
    release = canary(store, store_model(store, two_group_model(mean=3.5), NOW), weight=0.2, author="test")
    answers = [recommender.answer(str(user), NOW) for user in range(60)]
    assert {answer.arm for answer in answers} == {"outside", "control", "canary"}
    assert {a.version for a in answers if a.arm == "outside"} == {before}
    assert all(a.arm == release.assign(a.user_id).name for a in answers)


def test_answer_without_release_uses_the_databases_popular_movies(
    recommender: Recommender, database: FakeDatabase
) -> None:
    """Seen movies come last, and the list stays full."""
    database.movies = [(make_movie_id(i), 30.0 - i) for i in range(30)]
    database.histories["7"] = History((), (WatchedMovie(make_movie_id(0), 5, NOW),))
    answer = recommender.answer("7", NOW)
    assert (answer.tier, answer.version, answer.arm, answer.release) == (Tier.POPULAR, "", "", 0)
    assert list_ids(answer) == [make_movie_id(i) for i in range(1, 21)]
    assert answer.movies[0].rating is None


def test_answer_without_release_and_database_uses_cached_popular_movies(
    recommender: Recommender, database: FakeDatabase
) -> None:
    """The tier is the last resort."""
    database.movies = [(make_movie_id(i), 30.0 - i) for i in range(30)]
    recommender.answer("7", NOW)
    database.away = True
    answer = recommender.answer("8", NOW)
    assert (answer.tier, answer.notes) == (Tier.LAST_RESORT, ("database-unavailable",))
    assert list_ids(answer) == [make_movie_id(i) for i in range(20)]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda store, flaky, database: None, "no release yet"),
        (lambda store, flaky, database: setattr(flaky, "away", True), "the store is away"),
        (lambda store, flaky, database: setattr(database, "away", True), "no release yet"),
        (
            lambda store, flaky, database: flip_last_bit(store, release_model(store), "popularity.npy"),
            "refused",
        ),
    ],
)
def test_answer_with_nothing_to_recommend_raises_with_the_reason(
    store: FileStore,
    flaky: FlakyStore,
    recommender: Recommender,
    database: FakeDatabase,
    prepare: Callable[[FileStore, FlakyStore, FakeDatabase], object],
    reason: str,
) -> None:
    """No release, an unavailable store, an unavailable database, or a refused release."""
    prepare(store, flaky, database)
    with pytest.raises(NothingToRecommend, match=reason):
        recommender.answer("7", NOW)


def test_answer_later_release_is_used(store: FileStore, cache: ReleaseCache, recommender: Recommender) -> None:
    """The first release is found by the next refresh."""
    with pytest.raises(NothingToRecommend):
        recommender.answer("7", NOW)
    release_model(store)
    cache.refresh()
    assert recommender.answer("7", NOW).tier == Tier.POPULAR


def test_answer_hanging_store_costs_only_the_deadline(store: FileStore, cache: ReleaseCache, flaky: FlakyStore) -> None:
    """The record is given up, and the user gets popular movies."""
    import threading

    release_model(store)
    cache.refresh()
    let_go = threading.Event()
    flaky.read_range = lambda *_: let_go.wait(10)  # type: ignore[method-assign, assignment]
    recommender = Recommender(cache, objects=DeadlineExecutor("object store", deadline_ms=20, threads=1))
    answer = recommender.answer("1000", NOW)
    let_go.set()
    assert (answer.tier, answer.notes) == (Tier.POPULAR, ("object-store-unavailable",))


def test_answer_failing_database_is_called_three_times(store: FileStore, cache: ReleaseCache) -> None:
    """After that its circuit breaker is open."""
    calls = []

    def away(deadline_ms: int) -> History:
        calls.append(deadline_ms)
        raise DatabaseUnavailable("down")

    release_model(store)
    executor = DeadlineExecutor("database", deadline_ms=5_000, threads=1)
    recommender = Recommender(
        cache,
        objects=DeadlineExecutor("object store", deadline_ms=5_000, threads=1),
        history=lambda user_id, since: executor.run(away),
    )
    answers = [recommender.answer("1000", NOW) for _ in range(20)]
    assert len(calls) == 3
    assert {answer.notes for answer in answers} == {("database-unavailable",)}
