"""Tests of the HTTP API: statuses, headers, text and JSON."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.models import flip_last_bit, make_movie_id, release_model, store_model, two_group_model
from tests.support.fake_delivery import FakeDelivery

from marquee.errors import InvalidUserId
from marquee.registry.artifact import write_artifact
from marquee.registry.manifest import ResidualInterval
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.rollout import canary, promote
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.http_api import RecommendHttp, Reply, prefers_json
from marquee.serving.impressions import ImpressionSender
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.scored_movie import ScoredMovie
from marquee.serving.user_id import check_user_id

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def cache(store: FileStore) -> ReleaseCache:
    """A cache without a thread: it refreshes while nothing is loaded, and when a test says so."""
    return ReleaseCache(store, refresh_s=3_600, background=False)


@pytest.fixture
def http(cache: ReleaseCache) -> RecommendHttp:
    return RecommendHttp(
        Recommender(cache, objects=DeadlineExecutor("object store", deadline_ms=10_000, threads=1)),
        now=lambda: NOW,
    )


def test_reply_text_is_one_line_of_movie_ids(store: FileStore, http: RecommendHttp) -> None:
    """The headers name version, arm, tier and recommendation id."""
    version = release_model(store)
    reply = http.reply("GET", "/recommend/1000")
    assert (reply.status, reply.content_type) == (200, "text/plain; charset=utf-8")
    assert reply.body.decode() == ",".join(make_movie_id(i) for i in range(4, 44, 2))
    assert reply.headers["Marquee-Model-Version"] == version
    assert reply.headers["Marquee-Arm"] == "control"
    assert reply.headers["Marquee-Tier"] == "personalised"
    assert len(reply.headers["Marquee-Recommendation-Id"]) == 36
    assert "Marquee-Notes" not in reply.headers


def test_reply_text_that_is_not_logged_predicts_no_ratings(
    store: FileStore, cache: ReleaseCache, http: RecommendHttp
) -> None:
    """Only JSON and impressions show them; the list is the same."""
    release_model(store)
    sent = FakeDelivery()
    logged = RecommendHttp(http.recommender, ImpressionSender(lambda: sent, wait_s=0.0), now=lambda: NOW)
    plain, rated = (list_movies(http.reply("GET", "/recommend/1000", accept)) for accept in ("", "application/json"))
    assert [movie.movie_id for movie in plain] == [movie.movie_id for movie in rated]
    assert {movie.rating for movie in plain} == {None}
    assert None not in {movie.rating for movie in rated}
    assert list_movies(logged.reply("GET", "/recommend/1000")) == rated
    assert {movie.rating for movie in list_movies(logged.reply("HEAD", "/recommend/1000"))} == {None}


def list_movies(reply: Reply) -> tuple[ScoredMovie, ...]:
    assert reply.answer is not None
    return reply.answer.movies


def test_reply_json_has_scores_ratings_and_propensities(store: FileStore, http: RecommendHttp) -> None:
    """The keys and their order are part of the contract."""
    version = release_model(store)
    reply = http.reply("GET", "/recommend/1000", "application/json")
    document = msgspec.json.decode(reply.body)
    assert (reply.status, reply.content_type) == (200, "application/json")
    assert list(document) == [
        "recommendation_id",
        "user_id",
        "arm",
        "model_version",
        "release",
        "policy",
        "tier",
        "notes",
        "next_page",
        "movies",
    ]
    assert document["recommendation_id"] == reply.headers["Marquee-Recommendation-Id"]
    assert (document["user_id"], document["model_version"], document["release"]) == ("1000", version, 1)
    assert len(document["movies"]) == 20
    assert document["movies"][0] == {
        "movie_id": make_movie_id(4),
        "title": None,
        "year": None,
        "genres": [],
        "score": pytest.approx(2.0, rel=0.01),
        "rating": 4.0,
        "propensity": 1.0,
    }


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/json", True),
        ("application/json, text/plain, */*", True),
        ("text/plain, application/json;q=0.5", False),
        ("Text/Plain;Q=0.2, Application/JSON; Q=0.5", True),
        ("application/json;q=0", False),
        ("application/json;q=abc", False),
        ("application/jsonlines", False),
        ("application/json;q=0.5, text/*;q=0.9", False),
        ("application/json;q=0.9, text/*;q=0.5", True),
        ("application/json;q=0.5, */*;q=0.9", False),
        ("application/json;q=0.5, text/*;q=0.9, text/plain;q=0.1", True),
    ],
)
def test_prefers_json_follows_the_accept_header(accept: str, expected: bool) -> None:
    """JSON needs to be named, with a quality no lower than plain text's."""
    assert prefers_json(accept) is expected


@given(st.text(max_size=60))
def test_prefers_json_any_header_returns_a_bool(accept: str) -> None:
    """No text raises."""
    assert prefers_json(accept) in (True, False)


INVALID_CHARACTERS = ",/\ufffd"


@given(
    st.text(
        st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=INVALID_CHARACTERS),
        min_size=1,
        max_size=128,
    )
)
def test_check_user_id_opaque_text_is_valid(user_id: str) -> None:
    """Serving serves the ids that training takes: u-42, an address, a UUID, any script."""
    assert check_user_id(user_id) == user_id


@given(
    st.one_of(
        st.just(""),
        st.text(min_size=129),
        st.tuples(
            st.text(max_size=60),
            st.one_of(st.sampled_from(INVALID_CHARACTERS), st.characters(categories=["Cc", "Cs"])),
            st.text(max_size=60),
        ).map("".join),
    )
)
def test_check_user_id_other_text_raises_with_what_is_valid(raw: str) -> None:
    """One short sentence of printable ASCII, however long or strange the input was."""
    with pytest.raises(InvalidUserId) as caught:
        check_user_id(raw)
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 700
    assert "1 to 128 characters without control characters, comma and slash" in message


@pytest.mark.parametrize("raw", ["", "12\n", "1/2", "1,2", "\x00", "\x85", "\ufffd", "x" * 129, "x" * 4_000_000])
def test_reply_malformed_user_id_is_400(http: RecommendHttp, raw: str) -> None:
    """Also without a release."""
    reply = http.reply("GET", f"/recommend/{raw}")
    assert reply.status == 400
    assert b"is not a user id: it should be 1 to 128 characters" in reply.body
    assert len(reply.body) < 200


@pytest.mark.parametrize("path", ["/", "/recommend", "/nope", "/recommended/1", "/healthz/", "/…"])
def test_reply_other_path_is_404_with_the_endpoints(http: RecommendHttp, path: str) -> None:
    """The body lists what exists."""
    reply = http.reply("GET", path)
    assert reply.status == 404
    assert b"/recommend/<user_id>" in reply.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    "path", ["/recommend/1000", "/similar/up+2009", "/version", "/readyz", "/metrics", "/openapi.json", "/docs"]
)
def test_reply_other_method_is_405(http: RecommendHttp, method: str, path: str) -> None:
    """Allow names GET and HEAD."""
    reply = http.reply(method, path)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")


def test_readyz_is_200_once_a_recommendation_can_be_made(
    store: FileStore, cache: ReleaseCache, http: RecommendHttp
) -> None:
    """503 with Retry-After before that."""
    before = http.reply("GET", "/readyz")
    assert (before.status, before.headers["Retry-After"]) == (503, "2")
    release_model(store)
    cache.refresh()
    assert http.reply("GET", "/readyz").status == 200


def test_reply_nothing_to_recommend_is_503_with_retry_after(http: RecommendHttp) -> None:
    """The body has the reason."""
    reply = http.reply("GET", "/recommend/1000")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
    assert b"no release yet" in reply.body


def test_version_lists_release_arms_and_refusals(store: FileStore, cache: ReleaseCache, http: RecommendHttp) -> None:
    """A refused release is also noted in the answer."""
    version = release_model(store)
    http.reply("GET", "/readyz")
    flip_last_bit(store, release_model(store, two_group_model(mean=3.5), NOW), "item_biases.npy")
    cache.refresh()
    document = msgspec.json.decode(http.reply("GET", "/version").body)
    assert document["version"] == "0.1.0"
    assert document["release"] == 1
    assert document["arms"] == [{"name": "control", "version": version, "weight": 1.0}]
    assert [refusal["release"] for refusal in document["refusals"]] == [2]
    assert "item_biases.npy" in document["refusals"][0]["reason"]
    assert http.reply("GET", "/recommend/1000").headers["Marquee-Notes"] == "release-refused"


def test_version_weights_are_fractions_of_all_users(store: FileStore, cache: ReleaseCache, http: RecommendHttp) -> None:
    """An arm of an experiment has its part of the enrolled users; the others are outside."""
    first = release_model(store)
    second = store_model(store, two_group_model(mean=3.5), NOW)
    canary(store, second, weight=0.05, author="test")
    cache.refresh()
    arms = msgspec.json.decode(http.reply("GET", "/version").body)["arms"]
    assert [(arm["name"], arm["version"]) for arm in arms] == [
        ("control", first),
        ("canary", second),
        ("outside", first),
    ]
    assert [arm["weight"] for arm in arms] == pytest.approx([0.05, 0.05, 0.9])


def test_reply_sends_an_impression_for_a_shown_list_only(store: FileStore, cache: ReleaseCache) -> None:
    """There is no impression for a HEAD, for readiness, or for an invalid request."""
    release_model(store)
    delivery = FakeDelivery()
    sender = ImpressionSender(lambda: delivery, capacity=10)
    recommender = Recommender(cache, objects=DeadlineExecutor("object store", deadline_ms=10_000, threads=1))
    http = RecommendHttp(recommender, sender, now=lambda: NOW)
    for method, path in [("HEAD", "/recommend/1000"), ("GET", "/readyz"), ("GET", "/recommend/x,")]:
        http.reply(method, path)
    reply = http.reply("GET", "/recommend/1000")
    sender.close()
    (impression,) = delivery.impressions
    assert impression.id == reply.headers["Marquee-Recommendation-Id"]
    assert [movie.movie_id for movie in impression.movies] == reply.body.decode().split(",")


def test_reply_json_has_prediction_intervals(store: FileStore, http: RecommendHttp) -> None:
    """The interval is that of users with as many ratings, around the prediction, clipped to the scale."""
    prediction_intervals = (ResidualInterval(0, -9.0, 9.0), ResidualInterval(1, -0.5, 1.5))
    version = write_artifact(store, two_group_model(), trained_through=NOW, prediction_intervals=prediction_intervals)
    promote(store, version, author="test")
    known = msgspec.json.decode(http.reply("GET", "/recommend/1000", "application/json").body)["movies"][0]
    assert (known["rating"], known["interval"]) == (4.0, [3.5, 5.0])
    stranger = msgspec.json.decode(http.reply("GET", "/recommend/7", "application/json").body)["movies"][0]
    assert stranger["interval"] == [1.0, 5.0]


def test_reply_path_of_megabytes_is_answered_at_once(http: RecommendHttp) -> None:
    """The length is checked before the characters."""
    started = time.perf_counter()
    for path in ("/recommend/" + "1" * 4_000_000, "/" + "%" * 4_000_000):
        assert http.reply("GET", path).status in (400, 404)
    assert time.perf_counter() - started < 0.5
