"""Tests of replays: every list that was logged is made again, byte for byte, when the rows it came from are gone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.serving.fakes import FlakyStore
from tests.serving.models import catalog_model, make_movie_id, release_model, store_model

from marquee.db.past_history import find_impression, iter_last_impressions, user_history_until
from marquee.db.pool import Database
from marquee.db.user_history import History, RatedMovie, WatchedMovie
from marquee.errors import ArtifactRefused, ReleaseError
from marquee.events.batches import Impression, ImpressionBatch
from marquee.ingest.store import write_impressions
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.policy import Pin, Policy, Quota
from marquee.registry.policy_rollout import set_policy
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.engine import Engine
from marquee.serving.exploration import NO_EXPLORATION, Exploration
from marquee.serving.list_inputs import MAX_EVENTS
from marquee.serving.list_replay import Replayer, find_difference, has_same_movies
from marquee.serving.list_request import PLAIN, ListRequest
from marquee.serving.popular_movies import PopularMovies
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.request_parameters import parse_list_request

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
USERS = ("1000", "1001", "rated", "interests", "unknown")
"""Two users of the model, and users that it lacks: with a rating, with stated interests, with nothing."""
NONE = History((), ())


class Service:
    """A recommender that logs, over fakes of the database and the customer service."""

    def __init__(self, store: FileStore, new: int = 0) -> None:
        self.store = FlakyStore(store)
        self.histories = {
            "1001": History(
                (RatedMovie(make_movie_id(3), 5, NOW), RatedMovie("unknown+1990", 2, NOW)),
                (WatchedMovie(make_movie_id(7), 55, NOW - timedelta(minutes=3)),),
            ),
            "rated": History((RatedMovie(make_movie_id(1), 5, NOW),), ()),
        }
        self.movies = [(make_movie_id(row), 90.5 - row) for row in range(40)]
        self.database_away = self.customers_away = False
        self.recommender = Recommender(
            ReleaseCache(self.store, refresh_s=3_600, background=False),
            objects=DeadlineExecutor("object store", deadline_ms=10_000),
            history=self.read_history,
            popular=PopularMovies(self.query_popular, refresh_s=-1.0),
            cohorts=lambda user: (("genre:comedy", 1.0), ("age:60", 0.5)) if user == "interests" else (),
            ages=self.read_age,
            logs_reasons=True,
            exploration=Exploration(0.3, 3, 9, new),
            cold_wait_s=0.0,
        )

    def read_history(self, user_id: str, since: datetime | None) -> History:
        if self.database_away:
            raise Unavailable("away in this test")
        return self.histories.get(user_id, NONE)

    def query_popular(self, limit: int) -> list[tuple[str, float]]:
        if self.database_away:
            raise Unavailable("away in this test")
        return self.movies[:limit]

    def read_age(self, user_id: str) -> int | None:
        if self.customers_away:
            raise Unavailable("away in this test")
        return {"1000": 14, "1001": 40}.get(user_id)

    def show(self, user_id: str, request: ListRequest = PLAIN) -> Impression:
        """Return the impression of a list, as it comes out of the database."""
        impression = self.recommender.answer(user_id, NOW, request).impression()
        return msgspec.json.decode(msgspec.json.encode(impression), type=Impression)

    def show_page(self, user_id: str, query: str) -> Impression:
        """Return the impression of the second page."""
        request = parse_list_request(query)
        token = self.recommender.answer(user_id, NOW, request).next_page
        return self.show(user_id, parse_list_request(f"{query}&page={token}"))


@pytest.fixture
def service(store: FileStore) -> Service:
    release_model(store, catalog_model())
    return Service(store)


@pytest.fixture
def replayer(store: FileStore) -> Replayer:
    """A replayer without a database: all that it needs is in the impressions and the store."""
    return Replayer(store, NO_EXPLORATION)


def assert_equal(replayer: Replayer, *shown: Impression) -> None:
    for impression in shown:
        made = replayer.replay(impression)
        assert (made.difference, made.approximate) == ("", ""), impression


def test_replay_every_tier_gives_the_list(service: Service, replayer: Replayer) -> None:
    """Of each tier of a release, half of the lists drawn by chance, and several lengths."""
    shown = [service.show(user, ListRequest(n=n)) for user in USERS for n in (20, 7, 40) for _ in range(4)]
    assert {impression.tier for impression in shown} == {"personalised", "folded-in", "cohort", "popular"}
    assert {impression.explored for impression in shown} == {False, True}
    assert_equal(replayer, *shown)


def test_replay_new_movies_in_random_slots_gives_the_list(store: FileStore, replayer: Replayer) -> None:
    """The number of new candidates is logged; without it, as in impressions of earlier programs, it is 0."""
    model = catalog_model()
    model.popularity[::3] = 0
    release_model(store, model)
    service = Service(store, new=6)
    shown = [service.show(user, ListRequest(n=n)) for user in USERS for n in (20, 12) for _ in range(8)]
    assert_equal(replayer, *shown)
    earlier = [_forget_new(impression) for impression in shown]
    assert any(replayer.replay(impression).difference for impression in earlier)
    service = Service(store, new=0)
    assert_equal(replayer, *(_forget_new(service.show(user)) for user in USERS for _ in range(4)))


def _forget_new(shown: Impression) -> Impression:
    """Return the impression as earlier programs stored it, without the number of new candidates."""
    document = msgspec.to_builtins(shown)
    document["inputs"].pop("explore_new", None)
    return msgspec.convert(document, Impression)


def test_rank_candidates_new_movies_has_the_logged_ranks(store: FileStore, replayer: Replayer) -> None:
    """Each movie of a random slot is at its rank, and some are new movies that the ranking alone puts further down."""
    model = catalog_model()
    model.popularity[::3] = 0
    release_model(store, model)
    service, exploration = Service(store, new=6), Exploration(0.0, 3, 9, 6)
    promoted = 0
    for shown in [shown for user in USERS for _ in range(8) if not (shown := service.show(user)).explored]:
        ranked = replayer.rank_candidates(shown, exploration)
        assert len(set(ranked)) == 26
        assert [ranked[movie.rank - 1] for movie in shown.movies] == [movie.movie_id for movie in shown.movies]
        plain = replayer.rank_candidates(_forget_new(shown), exploration)
        promoted += any(movie.movie_id not in plain for movie in shown.movies)
    assert promoted


@pytest.mark.parametrize(
    "query",
    [
        "genre=drama,comedy&year=1970..1995",
        "max_age=12&n=5",
        "diversity=0.5",
        "calibrated=on&n=12",
        f"exclude={make_movie_id(2)},a%00b,{'x' * 500}",
        "exclude=a%00b",
        "n=100",
    ],
)
def test_replay_parameters_and_pages_are_kept(service: Service, replayer: Replayer, query: str) -> None:
    """First and second page of a list with parameters; ids that no model knows are not kept."""
    for user in USERS:
        first = service.show(user, parse_list_request(query))
        assert first.inputs is not None
        assert len(first.inputs.request) < 2_000
        assert_equal(replayer, first)
        if "n=100" not in query:
            assert_equal(replayer, service.show_page(user, query))


def test_replay_policy_of_the_release_holds_after_it_changed(
    service: Service, store: FileStore, replayer: Replayer
) -> None:
    """Ages, pins, quotas, fees, hidden movies and exploration; the next policy changes nothing of an earlier list."""
    policy = Policy(
        age_from_account=True,
        assumed_age=12,
        unknown_age_passes=True,
        unavailable=(make_movie_id(5),),
        pins=(Pin(make_movie_id(9), 2),),
        quotas=(Quota("language", ("fr",), 0.2),),
        cost_weight=0.5,
        explore_slots=2,
    )
    set_policy(store, policy, author="test", reason="")
    service.recommender.cache.refresh()
    shown = [service.show(user) for user in USERS for _ in range(3)]
    service.customers_away = True
    shown += [service.show(user) for user in USERS]
    set_policy(store, Policy(), author="test", reason="")
    assert {impression.policy for impression in shown} == {2}
    assert_equal(replayer, *shown)


def test_replay_age_of_the_account_is_not_kept(service: Service, store: FileStore) -> None:
    """Only the highest age rating that it allows is, where a policy asks for it."""
    assert service.show("1001").inputs.max_age is None  # type: ignore[union-attr]
    set_policy(store, Policy(age_from_account=True), author="test", reason="")
    service.recommender.cache.refresh()
    assert [service.show(user).inputs.max_age for user in ("1000", "1001")] == [12, 18]  # type: ignore[union-attr]


def test_replay_degraded_answers_give_the_list(service: Service, replayer: Replayer) -> None:
    """Database away, record unreadable, and scoring that failed."""
    service.database_away = True
    shown = [service.show(user) for user in USERS]
    service.database_away = False
    service.store.away = True
    unread = service.show("1002")
    assert unread.tier == "popular"
    assert_equal(replayer, *shown, unread)


def test_replay_failed_scoring_gives_the_last_resort(
    service: Service, replayer: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug need not be there any more."""
    with monkeypatch.context() as patched:
        patched.setattr(Engine, "rank", _fail_for_histories(Engine.rank))
        shown = [service.show(user) for user in ("1000", "rated")]
    assert {impression.tier for impression in shown} == {"last-resort"}
    assert_equal(replayer, *shown)


def _fail_for_histories(rank: Callable[..., Any]) -> Callable[..., Any]:
    def fail(engine: Engine, state: Any, cohorts: Any) -> Any:
        if len(state.items):
            raise RuntimeError("a bug, in this test")
        return rank(engine, state, cohorts)

    return fail


def test_replay_without_a_release_gives_the_popular_movies(store: FileStore) -> None:
    """Before the first model, with the database there and away; the movies that were popular then are kept."""
    service, replayer = Service(store), Replayer(store, NO_EXPLORATION)
    shown = [service.show(user, parse_list_request(f"exclude={make_movie_id(4)}")) for user in ("rated", "unknown")]
    shown.append(service.show("rated"))
    service.database_away = True
    shown.append(service.show("rated"))
    service.movies = []
    assert [impression.tier for impression in shown] == ["popular", "popular", "popular", "last-resort"]
    assert_equal(replayer, *shown)
    with pytest.raises(ReleaseError, match="before the first release"):
        replayer.ask(shown[0], version="v")


def test_replay_other_list_names_the_first_difference(service: Service, replayer: Replayer) -> None:
    """Another id draws other movies; a changed score is told from other movies."""
    shown = service.show("1000")
    assert "position" in replayer.replay(msgspec.structs.replace(shown, id="0" * 32)).difference
    movies = (msgspec.structs.replace(shown.movies[0], score=shown.movies[0].score * (1 + 1e-7)), *shown.movies[1:])
    difference = replayer.replay(msgspec.structs.replace(shown, movies=movies)).difference
    assert "differs in the last bits" in difference
    assert has_same_movies(difference)
    answer, other = service.recommender.answer("1000", NOW), msgspec.structs.replace(shown, tier="popular")
    assert find_difference(other, answer) == "the tier is personalised, it was popular"


def test_replay_missing_artifact_or_release_says_so(service: Service, store: FileStore, replayer: Replayer) -> None:
    """A release that does not exist, and an artifact that was deleted."""
    shown = service.show("1000")
    with pytest.raises(ReleaseError, match="no release 9"):
        replayer.replay(msgspec.structs.replace(shown, release=9))
    for name in list(store.list(f"models/{shown.model_version}/")):
        store.delete(name)
    with pytest.raises(ArtifactRefused):
        replayer.replay(shown)


@pytest.mark.parametrize("change", [{"id": "i0"}, {"request": "no base64"}, {"request": "W10="}, {"shown": "A"}])
def test_replay_malformed_impression_says_so(service: Service, replayer: Replayer, change: dict[str, str]) -> None:
    """An impression that ingestion accepted and the replay cannot read is named, and costs no other list its replay."""
    shown = service.show("1000")
    assert shown.inputs is not None
    inputs = msgspec.structs.replace(shown.inputs, **{name: text for name, text in change.items() if name != "id"})
    odd = msgspec.structs.replace(shown, id=change.get("id", shown.id), inputs=inputs)
    with pytest.raises(ReleaseError, match="is malformed"):
        replayer.replay(odd)


def test_ask_other_model_and_policy_give_their_lists(service: Service, store: FileStore, replayer: Replayer) -> None:
    """The list that the other model would have made from the same history, with its own record and the same chance."""
    other = store_model(store, catalog_model(seed=2))
    shown = next(shown for _ in range(99) if not (shown := service.show("rated")).explored)
    asked = replayer.ask(shown, version=other)
    assert asked.model_version == other
    assert [m.movie_id for m in asked.movies] != [m.movie_id for m in shown.movies]
    hidden = shown.movies[0].movie_id
    without = replayer.ask(shown, policy=Policy(unavailable=(hidden,)))
    assert hidden not in [movie.movie_id for movie in without.movies]
    late = store_model(store, catalog_model(seed=3), through=NOW + timedelta(days=1))
    assert "trained after the list" in replayer.ask(shown, version=late).approximate


@pytest.fixture
def filled(postgres_database: Database) -> Database:
    """A database with a watch session that goes on after NOW, a later rating, and many ratings of one user."""
    with postgres_database.transaction() as cursor:
        cursor.execute("INSERT INTO topics (topic_id, topic) VALUES ('t', 't') ON CONFLICT DO NOTHING")
        cursor.execute(
            "INSERT INTO watch_sessions (user_id, movie_id, started, ended, first_minute, last_minute) "
            "VALUES ('rated', 'up+2009', %s, %s, 0, 60)",
            (NOW - timedelta(minutes=20), NOW + timedelta(minutes=40)),
        )
        cursor.execute(
            'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating) VALUES '
            "(%s, 1, 0, 1, 'rated', 'fargo+1996', 5), (%s, 1, 0, 2, 'rated', 'fargo+1996', 1)",
            (NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)),
        )
    return postgres_database


def test_user_history_until_leaves_out_what_came_later(filled: Database) -> None:
    """The later rating is not there, and the session ends at the minute that had been reached."""
    history = user_history_until(filled, "rated", None, NOW)
    assert history == History(
        (RatedMovie("fargo+1996", 5, NOW - timedelta(minutes=1)),), (WatchedMovie("up+2009", 20, NOW),)
    )


def test_stored_impressions_come_back_equal(service: Service, postgres_database: Database, replayer: Replayer) -> None:
    """Through JSON of the database, floats included; the list is made again from the row alone."""
    database = postgres_database
    shown = [service.show(user, parse_list_request("exclude=a%00b" if n else "")) for user in USERS for n in range(2)]
    old = msgspec.structs.replace(service.show("1000"), id="00000000-0000-4000-8000-000000000000", inputs=None)
    write_impressions(database, ImpressionBatch("a", (*shown, old)))
    found = find_impression(database, shown[0].id)
    assert found is not None
    assert found == msgspec.structs.replace(shown[0], took_ms=found.took_ms)
    everything = list(iter_last_impressions(database, 100))
    assert len(everything) == len(shown) + 1
    assert find_impression(database, "unknown") is None
    assert_equal(replayer, *(impression for impression in everything if impression.inputs is not None))
    assert "no inputs" in replayer.replay(next(i for i in everything if i.inputs is None)).approximate


def test_replay_more_events_than_are_kept_reads_the_tables(service: Service, store: FileStore) -> None:
    """The newest are kept, and the rest is read as of the list's time; without a database this is named."""
    names = [f"x+{n}" for n in range(MAX_EVENTS)] + [make_movie_id(n) for n in range(30)]
    ratings = tuple(RatedMovie(name, 1 + n % 5, NOW - timedelta(minutes=n)) for n, name in enumerate(names))
    service.histories["rated"] = History(ratings, ())
    shown = service.show("rated")
    assert shown.inputs is not None
    assert (len(shown.inputs.rated), shown.inputs.left_out) == (MAX_EVENTS, 30)
    made = Replayer(store, NO_EXPLORATION, lambda *_: History(ratings, ())).replay(shown)
    assert made.difference == ""
    assert "30 older events" in made.approximate
    assert "no database" in Replayer(store, NO_EXPLORATION).replay(shown).approximate


def test_closed_database_is_not_needed(service: Service, replayer: Replayer) -> None:
    """Later events of the user change nothing of the list."""
    shown = service.show("1001")
    service.histories["1001"] = NONE
    with closing(service.recommender.cache):
        assert_equal(replayer, shown)
