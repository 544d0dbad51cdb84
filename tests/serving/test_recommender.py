"""Answers for everybody, whatever is away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.serving.fakes import FlakyStore
from tests.serving.models import (
    TRAINED_THROUGH,
    corrupt,
    group_of,
    movie_id_of,
    released,
    two_tastes,
    written,
)

from marquee.db.user_history import History, RatedMovie, WatchedMovie
from marquee.errors import DatabaseUnavailable, NothingToRecommend
from marquee.registry.arm_assignment import assign_arm
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.rollout import canary
from marquee.serving.circuit_breaker import CircuitBreaker
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.engine import Tier
from marquee.serving.popular_movies import PopularMovies
from marquee.serving.recommender import Answer, Recommender
from marquee.serving.release_cache import ReleaseCache

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NONE = History((), ())


class FakeDatabase:
    """What users did, and what is popular; unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.histories: dict[str, History] = {}
        self.movies: list[tuple[str, float]] = []
        self.asked: list[tuple[str, datetime | None]] = []

    def history_of(self, user_id: str, since: datetime | None) -> History:
        self.asked.append((user_id, since))
        if self.away:
            raise Unavailable("the database is away, as the test wants it")
        return self.histories.get(user_id, NONE)

    def popular(self, limit: int) -> list[tuple[str, float]]:
        if self.away:
            raise Unavailable("the database is away, as the test wants it")
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
    objects = DeadlineExecutor(
        "object store", deadline_ms=10_000, threads=1, breaker=CircuitBreaker(failures=1_000)
    )
    return Recommender(cache, objects=objects, history=database.history_of, popular=popular)


def ids(answer: Answer) -> list[str]:
    return [movie.movie_id for movie in answer.movies]


def test_an_answer_names_all_that_made_it(store: FileStore, recommender: Recommender) -> None:
    version = released(store)
    answer = recommender.answer("1000", NOW)
    assert (answer.arm, answer.version, answer.release, answer.tier) == (
        "control",
        version,
        1,
        Tier.PERSONALISED,
    )
    assert (answer.user_id, answer.time, answer.notes) == ("1000", NOW, ())
    assert ids(answer)[:3] == [movie_id_of(4), movie_id_of(6), movie_id_of(8)]
    assert answer.recommendation_id != recommender.answer("1000", NOW).recommendation_id


def test_the_impression_is_the_list_as_it_was_served(store: FileStore, recommender: Recommender) -> None:
    released(store)
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


def test_only_what_the_model_cannot_know_is_asked_of_the_database(
    store: FileStore, recommender: Recommender, database: FakeDatabase
) -> None:
    """For a stored user from about when the model was trained through; for others all that there is."""
    released(store)
    recommender.answer("1000", NOW)
    recommender.answer("77", NOW)
    (stored, since), unknown = database.asked
    assert stored == "1000"
    assert since is not None
    assert TRAINED_THROUGH - timedelta(hours=1) < since < TRAINED_THROUGH
    assert unknown == ("77", None)


def test_a_watch_or_a_rating_counts_in_the_very_next_answer(
    store: FileStore, recommender: Recommender, database: FakeDatabase
) -> None:
    released(store)
    assert recommender.answer("77", NOW).tier == Tier.POPULAR
    database.histories["77"] = History((), (WatchedMovie(movie_id_of(9), 1, NOW),))
    answer = recommender.answer("77", NOW)
    assert answer.tier == Tier.FOLDED_IN
    assert {group_of(movie) for movie in ids(answer)} == {1}
    database.histories["77"] = History((RatedMovie(movie_id_of(8), 5, NOW),), ())
    assert {group_of(movie) for movie in ids(recommender.answer("77", NOW))} == {0}


def test_the_database_away_the_artifact_answers(
    store: FileStore, recommender: Recommender, database: FakeDatabase
) -> None:
    released(store)
    database.away = True
    known, unknown = recommender.answer("1000", NOW), recommender.answer("77", NOW)
    assert (known.tier, known.notes) == (Tier.PERSONALISED, ("database-unavailable",))
    assert (unknown.tier, len(unknown.movies)) == (Tier.POPULAR, 20)


def test_the_store_away_what_is_loaded_answers(
    store: FileStore, flaky: FlakyStore, cache: ReleaseCache, recommender: Recommender, database: FakeDatabase
) -> None:
    """A user seen before is answered from memory; a new one from the database's history, all of it."""
    released(store)
    before = recommender.answer("1000", NOW)
    flaky.away = True
    cache.refresh()
    again, other = recommender.answer("1000", NOW), recommender.answer("1001", NOW)
    assert ids(again) == ids(before)
    assert again.notes == other.notes == ("object-store-unavailable",)
    assert (other.tier, len(other.movies)) == (Tier.POPULAR, 20)
    assert database.asked[-1] == ("1001", None)


def test_both_away_there_still_is_a_list(
    store: FileStore, flaky: FlakyStore, cache: ReleaseCache, recommender: Recommender, database: FakeDatabase
) -> None:
    released(store)
    recommender.answer("1000", NOW)
    flaky.away = database.away = True
    cache.refresh()
    answer = recommender.answer("1001", NOW)
    assert (answer.tier, len(set(ids(answer)))) == (Tier.POPULAR, 20)
    assert set(answer.notes) == {"object-store-unavailable", "database-unavailable"}


def test_a_refused_release_is_told(store: FileStore, cache: ReleaseCache, recommender: Recommender) -> None:
    old = released(store)
    recommender.answer("1000", NOW)
    corrupt(store, released(store, two_tastes(mean=3.5), NOW), "item_biases.npy")
    cache.refresh()
    answer = recommender.answer("1000", NOW)
    assert (answer.version, answer.notes) == (old, ("release-refused",))


def test_a_corrupt_row_costs_its_user_the_row_and_nobody_an_answer(
    store: FileStore, recommender: Recommender
) -> None:
    version = released(store)
    recommender.answer("77", NOW)
    corrupt(store, version, "users.bin")
    answers = [recommender.answer(str(1000 + u), NOW) for u in range(6)]
    assert {len(answer.movies) for answer in answers} == {20}
    assert Tier.POPULAR in {answer.tier for answer in answers}


def test_a_mistake_in_scoring_falls_back_to_a_list_for_everybody(
    store: FileStore, recommender: Recommender, database: FakeDatabase
) -> None:
    released(store)
    database.histories["1000"] = "no history at all"  # type: ignore[assignment]
    answer = recommender.answer("1000", NOW)
    assert (answer.tier, answer.notes) == (Tier.LAST_RESORT, ("scoring-failed",))
    assert ids(answer) == [movie_id_of(i) for i in range(20)]


def test_each_user_keeps_to_his_arm(store: FileStore, recommender: Recommender) -> None:
    released(store)
    release = canary(store, written(store, two_tastes(mean=3.5), NOW), weight=0.5, author="test")
    by_arm = {arm.name: arm.version for arm in release.arms}
    answers = [recommender.answer(str(user), NOW) for user in range(50)]
    assert {answer.arm for answer in answers} == {"control", "canary"}
    assert all(
        a.arm == assign_arm(release.arms, release.salt, a.user_id).name and a.version == by_arm[a.arm]
        for a in answers
    )


def test_without_a_release_the_database_tells_what_is_popular(
    recommender: Recommender, database: FakeDatabase
) -> None:
    """Seen movies are left out, and the list stays full."""
    database.movies = [(movie_id_of(i), 30.0 - i) for i in range(30)]
    database.histories["7"] = History((), (WatchedMovie(movie_id_of(0), 5, NOW),))
    answer = recommender.answer("7", NOW)
    assert (answer.tier, answer.version, answer.arm, answer.release) == (Tier.POPULAR, "", "", 0)
    assert ids(answer) == [movie_id_of(i) for i in range(1, 21)]
    assert answer.movies[0].rating is None


def test_the_last_resort_is_what_was_popular_before_the_database_went(
    recommender: Recommender, database: FakeDatabase
) -> None:
    database.movies = [(movie_id_of(i), 30.0 - i) for i in range(30)]
    recommender.answer("7", NOW)
    database.away = True
    answer = recommender.answer("8", NOW)
    assert (answer.tier, answer.notes) == (Tier.LAST_RESORT, ("database-unavailable",))
    assert ids(answer) == [movie_id_of(i) for i in range(20)]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda store, flaky, database: None, "no release yet"),
        (lambda store, flaky, database: setattr(flaky, "away", True), "the store is away"),
        (lambda store, flaky, database: setattr(database, "away", True), "no release yet"),
        (lambda store, flaky, database: corrupt(store, released(store), "popularity.npy"), "refused"),
    ],
)
def test_with_nothing_at_all_it_says_why(
    store: FileStore,
    flaky: FlakyStore,
    recommender: Recommender,
    database: FakeDatabase,
    prepare: Callable[[FileStore, FlakyStore, FakeDatabase], object],
    said: str,
) -> None:
    prepare(store, flaky, database)
    with pytest.raises(NothingToRecommend, match=said):
        recommender.answer("7", NOW)


def test_a_release_that_comes_later_is_taken(
    store: FileStore, cache: ReleaseCache, recommender: Recommender
) -> None:
    with pytest.raises(NothingToRecommend):
        recommender.answer("7", NOW)
    released(store)
    cache.refresh()
    assert recommender.answer("7", NOW).tier == Tier.POPULAR


def test_a_store_that_hangs_costs_a_deadline(
    store: FileStore, cache: ReleaseCache, flaky: FlakyStore
) -> None:
    """And not the caller's patience: the row is given up, and the user gets what is popular."""
    import threading

    released(store)
    cache.refresh()
    let_go = threading.Event()
    flaky.read_range = lambda *_: let_go.wait(10)  # type: ignore[method-assign, assignment]
    recommender = Recommender(cache, objects=DeadlineExecutor("object store", deadline_ms=20, threads=1))
    answer = recommender.answer("1000", NOW)
    let_go.set()
    assert (answer.tier, answer.notes) == (Tier.POPULAR, ("object-store-unavailable",))


def test_a_database_that_is_away_is_asked_three_times_and_then_left_alone(
    store: FileStore, cache: ReleaseCache
) -> None:
    asked = []

    def away(deadline_ms: int) -> History:
        asked.append(deadline_ms)
        raise DatabaseUnavailable("down")

    released(store)
    outside = DeadlineExecutor("database", deadline_ms=5_000, threads=1)
    recommender = Recommender(
        cache,
        objects=DeadlineExecutor("object store", deadline_ms=5_000, threads=1),
        history=lambda user_id, since: outside.run(away),
    )
    answers = [recommender.answer("1000", NOW) for _ in range(20)]
    assert len(asked) == 3
    assert {answer.notes for answer in answers} == {("database-unavailable",)}
