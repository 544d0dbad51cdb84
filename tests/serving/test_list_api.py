"""Tests of lists over the HTTP handler: pages, lists without a profile, policies, and similar movies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.serving.models import GENRES, catalog_model, make_movie_id, release_model
from tests.support.fake_delivery import FakeDelivery

from marquee.db.user_history import History, RatedMovie
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.policy import Policy, ShowWindow
from marquee.registry.policy_rollout import set_policy
from marquee.registry.rollout import rollback
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.exploration import Exploration
from marquee.serving.http_api import RecommendHttp, Reply
from marquee.serving.impressions import ImpressionSender
from marquee.serving.movie_rules import MovieRules
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache

NOW = datetime(2026, 3, 2, tzinfo=UTC)
AGES = {"child": 8, "adult": 40}


class Api:
    """The HTTP handler over one release, with accounts, and a history in the database of two users."""

    def __init__(self, store: FileStore) -> None:
        self.store = store
        self.cache = ReleaseCache(store, refresh_s=3_600, background=False)
        self.delivery = FakeDelivery()
        self.sender = ImpressionSender(lambda: self.delivery, wait_s=0.01)
        self.now = NOW
        self.histories = {user: History((RatedMovie(make_movie_id(row), 5, NOW),), ()) for user, row in USERS.items()}
        self.customers_away = False
        recommender = Recommender(
            self.cache,
            objects=DeadlineExecutor("object store", deadline_ms=10_000),
            history=lambda user, since: self.histories.get(user, History((), ())),
            ages=self.read_age,
            logs_reasons=True,
            exploration=Exploration(0.0, 3, 9),
        )
        self.http = RecommendHttp(recommender, self.sender, now=lambda: self.now)

    def read_age(self, user: str) -> int | None:
        if self.customers_away:
            raise Unavailable("away in this test")
        return AGES.get(user)

    def get(self, path: str, query: str = "", accept: str = "") -> Reply:
        return self.http.reply("GET", path, accept, query)

    def list_ids(self, path: str, query: str = "") -> list[str]:
        reply = self.get(path, query)
        assert reply.status == 200
        return reply.body.decode().split(",") if reply.body else []

    def get_json(self, path: str, query: str = "") -> dict[str, Any]:
        document: dict[str, Any] = msgspec.json.decode(self.get(path, query, "application/json").body)
        return document


USERS = {"first": 1, "second": 50}
"""The row of the movie that each user has rated."""


@pytest.fixture
def api(store: FileStore) -> Iterator[Api]:
    release_model(store, catalog_model())
    api = Api(store)
    yield api
    api.sender.close()


def test_reply_pages_show_every_movie_once(api: Api) -> None:
    """Page after page, no movie comes twice, until nothing is left; the same for a filtered list."""
    genres = catalog_model().metadata.genres
    seen = catalog_model().histories.items[:10].tolist()
    comic = [row for row, names in enumerate(genres) if row not in seen and ("comedy" in names or "drama" in names)]
    for rules, expected in (("n=30", 110), ("n=30&genre=comedy,drama", len(comic)), ("n=7&profile=off", 120)):
        shown: list[str] = []
        reply = api.get("/recommend/1000", rules)
        while reply.body:
            shown += reply.body.decode().split(",")
            token = reply.headers.get("Marquee-Next-Page")
            if token is None:
                break
            reply = api.get("/recommend/1000", f"{rules}&page={token}")
            assert reply.status == 200
        assert len(shown) == len(set(shown))
        assert len(shown) == expected


def test_reply_page_that_is_not_of_this_list_is_refused(api: Api) -> None:
    """A token with other parameters or of another user, and text that is no token: 400 with what to do."""
    token = api.get("/recommend/1000", "n=5").headers["Marquee-Next-Page"]
    for user, n in (("1000", 6), ("1001", 5)):
        other = api.get(f"/recommend/{user}", f"n={n}&page={token}")
        assert (other.status, b"repeat the user and the parameters of the first page" in other.body) == (400, True)
    flipped = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    for wrong in (flipped, "AAAA", token[:10]):
        reply = api.get("/recommend/1000", f"n=5&page={wrong}")
        assert (reply.status, b"use its next_page unchanged" in reply.body) == (400, True)


def test_reply_json_pages_continue_as_text_pages(api: Api) -> None:
    """``next_page`` and the header are the same token, whose page has the rest of the order."""
    first = api.get_json("/recommend/1000", "n=5")
    second = api.get_json("/recommend/1000", f"n=5&page={first['next_page']}")
    best = api.list_ids("/recommend/1000", "n=10")
    assert [movie["movie_id"] for movie in (*first["movies"], *second["movies"])][:9] == best[:9]
    assert all(movie["title"].startswith("Movie ") for movie in first["movies"])


def test_reply_without_a_profile_is_the_same_for_opposite_histories(api: Api) -> None:
    """Two users get equal bytes, as text and as JSON; the tier says so, and no impression is logged."""
    assert api.list_ids("/recommend/first") != api.list_ids("/recommend/second")
    for query in ("profile=off", "profile=off&genre=comedy&explain=2"):
        for accept in ("", "application/json"):
            first, second = (api.get(f"/recommend/{user}", query, accept) for user in USERS)
            assert first.status == 200
            assert first.body == second.body
            assert first.headers == second.headers
            assert b"first" not in first.body
            assert first.headers["Marquee-Tier"] == "not-profiled"
    api.sender.close()
    logged = {impression.user_id for impression in api.delivery.impressions}
    assert logged == {"first", "second"}
    assert api.sender.sent == 2


def test_reply_impression_has_what_experiments_need(api: Api) -> None:
    """Ranks, first reasons, eligible movies, policy and page; reasons are movies of the history."""
    set_policy(api.store, Policy(unavailable=(make_movie_id(3),)), author="test")
    api.cache.refresh()
    token = api.get("/recommend/first", "n=20").headers["Marquee-Next-Page"]
    api.get("/recommend/first", f"n=20&page={token}")
    api.sender.close()
    first, second = api.delivery.impressions
    assert (first.explored, first.eligible, first.page, first.notes) == (False, 118, 1, ())
    assert first.policy == first.release == 2
    assert (second.eligible, second.page) == (98, 2)
    assert first.took_ms > 0
    assert [movie.rank for movie in first.movies[:17]] == list(range(1, 18))
    assert {movie.reason for movie in first.movies} <= {make_movie_id(1), "exploration"}


def test_reply_hidden_and_expired_movies_are_gone_after_one_refresh(api: Api) -> None:
    """A policy takes effect with the next refresh, a date without one, and a rollback takes it away."""
    best = api.list_ids("/recommend/1000", "n=3")
    store = api.store
    ends = NOW + timedelta(hours=1)
    policy = Policy(unavailable=(best[0],), windows=(ShowWindow(best[1], until=ends),))
    set_policy(store, policy, author="test")
    api.cache.refresh()
    assert api.list_ids("/recommend/1000", "n=1") == [best[1]]
    assert best[0] not in api.list_ids("/similar/" + best[2], "n=100")
    api.now = ends
    assert api.list_ids("/recommend/1000", "n=1") == [best[2]]
    rollback(store, author="test")
    api.cache.refresh()
    assert api.list_ids("/recommend/1000", "n=3") == best


def test_reply_age_rule_of_the_account_holds_at_every_tier(api: Api) -> None:
    """Children get no movie above their age: with and without a history, an account, a profile or a working scorer."""
    set_policy(api.store, Policy(age_from_account=True, assumed_age=6), author="test")
    api.cache.refresh()
    ages = dict(zip(map(make_movie_id, range(120)), catalog_model().metadata.ages, strict=True))

    def oldest(path: str, query: str = "") -> int:
        shown = [ages[movie_id] for movie_id in api.list_ids(path, query)]
        assert min(shown) >= 0
        return max(shown)

    assert oldest("/recommend/adult", "n=100") == 18
    assert oldest("/recommend/child", "n=100") == 6
    assert oldest("/recommend/child", "n=100&max_age=99") == 6
    assert oldest("/recommend/unknown", "n=100") == 6
    assert oldest("/recommend/adult", "n=100&profile=off") == 6
    assert oldest(f"/similar/{make_movie_id(5)}", "n=100") == 6
    assert oldest(f"/similar/{make_movie_id(5)}", "n=100&user=adult") == 18
    api.histories["child"] = "no history at all"  # type: ignore[assignment]
    assert oldest("/recommend/child", "n=100") == 6  # The last resort.
    api.customers_away = True
    assert oldest("/recommend/adult", "n=100") == 6


def test_reply_broken_age_rule_is_removed_and_noted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the masks fail, a second check removes what is above the age, and the note raises the alert."""
    monkeypatch.setattr(MovieRules, "passing", lambda *_: None)
    ages = dict(zip(map(make_movie_id, range(120)), catalog_model().metadata.ages, strict=True))
    for path in ("/recommend/1000", f"/similar/{make_movie_id(5)}"):
        reply = api.get(path, "n=100&max_age=12")
        assert reply.headers["Marquee-Notes"] == "age-rule-broken"
        assert {ages[movie_id] for movie_id in reply.body.decode().split(",")} == {0, 6, 12}
    api.sender.close()
    assert [impression.notes for impression in api.delivery.impressions] == [("age-rule-broken",)]


def test_reply_similar_is_the_model_without_trend_and_popularity(api: Api) -> None:
    """Movies are compared in the directions that the model keeps of a history, trend and popularity taken out."""
    model = catalog_model()
    assert model.trend is not None
    taste = model.rank_items[:, :-1] / model.trend[:, None]
    gains = np.linalg.norm(model.rank_history[:, :-1], axis=0)
    weighed = taste * (gains / gains.max()) ** 1.5
    scores = weighed @ weighed[5] / np.linalg.norm(weighed, axis=1) ** 0.25
    scores[5] = -np.inf
    expected = [make_movie_id(row) for row in np.argsort(-scores)[:10]]
    assert api.list_ids(f"/similar/{make_movie_id(5)}", "n=10") == expected
    document = api.get_json(f"/similar/{make_movie_id(5)}", "n=10&genre=comedy&exclude=" + expected[0])
    assert (document["movie_id"], document["title"], document["release"]) == (make_movie_id(5), "Movie 5", 1)
    assert all("comedy" in movie["genres"] for movie in document["movies"])
    assert expected[0] not in [movie["movie_id"] for movie in document["movies"]]


def test_reply_similar_for_a_user_mixes_their_scores_and_leaves_out_what_they_saw(api: Api) -> None:
    """Two users get different orders, none with their own movie."""
    first, second = (api.list_ids(f"/similar/{make_movie_id(5)}", f"n=100&user={user}") for user in USERS)
    assert first != second
    assert make_movie_id(USERS["first"]) not in first
    assert make_movie_id(USERS["second"]) not in second


def test_reply_similar_unknown_movie_or_parameter_says_what_is_valid(api: Api) -> None:
    """404 for a movie that the model lacks, 400 for a parameter of another endpoint."""
    assert api.get("/similar/none+1990").status == 404
    reply = api.get(f"/similar/{make_movie_id(5)}", "page=1")
    assert (reply.status, b"use n, exclude, genre, year" in reply.body) == (400, True)


@pytest.mark.parametrize("path", ["/recommend/1000", f"/similar/{make_movie_id(5)}"])
@pytest.mark.parametrize("genres", ["dramma", "drama,-dramma"])
def test_reply_genre_that_no_movie_has_says_which_there_are(api: Api, path: str, genres: str) -> None:
    """A typing error is no rule: 400, with the genres of the release; upper and lower case do not matter."""
    reply = api.get(path, f"genre={genres}")
    expected = f"genre has 'dramma', which no movie has: use {', '.join(sorted(GENRES))}."
    assert (reply.status, reply.body.decode().strip()) == (400, expected)
    assert api.get(path, "genre=DRAMA,-horror").status == 200


def test_reply_filtered_list_without_a_release_is_empty_rather_than_wrong(store: FileStore) -> None:
    """The database's popular movies have no attributes: a rule that asks for one leaves none, and none is similar."""
    from marquee.serving.popular_movies import PopularMovies

    cache = ReleaseCache(store, refresh_s=3_600, background=False)
    popular = PopularMovies(lambda limit: [(make_movie_id(row), 1.0) for row in range(40)], refresh_s=60)
    executor = DeadlineExecutor("object store", deadline_ms=10_000)
    http = RecommendHttp(Recommender(cache, objects=executor, popular=popular, wait_s=0.0))
    similar = http.reply("GET", f"/similar/{make_movie_id(0)}")
    assert (similar.status, b"popular" in similar.body, b"no release yet" in similar.body) == (503, False, True)
    filtered = http.reply("GET", "/recommend/1", query="genre=drama")
    assert (filtered.status, filtered.body, filtered.headers["Marquee-Notes"]) == (200, b"", "no-match")
    excluded = http.reply("GET", "/recommend/1", query=f"n=5&exclude={make_movie_id(0)}")
    assert excluded.body.decode().split(",") == [make_movie_id(row) for row in range(1, 6)]
    following = http.reply(
        "GET",
        "/recommend/1",
        query="n=5&exclude={}&page={}".format(make_movie_id(0), excluded.headers["Marquee-Next-Page"]),
    )
    assert following.body.decode().split(",") == [make_movie_id(row) for row in range(6, 11)]
