"""Restricted users: nothing of them is read, whatever their history, and two of them get equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.serving.models import get_group, make_movie_id, release_model, two_group_model

from marquee.db.privacy_marks import MarkSet, digest_user
from marquee.db.user_history import History, RatedMovie
from marquee.errors import DatabaseRefused, PrivacyKeyWrong
from marquee.events.batches import Impression
from marquee.registry.object_store.file_store import FileStore
from marquee.serving.deadline import DeadlineExecutor, Unavailable
from marquee.serving.http_api import RecommendHttp
from marquee.serving.impressions import ImpressionSender
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.restricted_users import RestrictedUsers

KEY = "k" * 32
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def marks(version: int, *users: str) -> MarkSet:
    return MarkSet(version, KEY, [digest_user(KEY, user) for user in users])


class Sink(ImpressionSender):
    """A sender that keeps the impressions."""

    def __init__(self) -> None:
        self.kept: list[Impression] = []

    def send(self, impression: Impression) -> None:
        self.kept.append(impression)


@pytest.fixture
def read_users() -> list[str]:
    """Return the users whose history was read."""
    return []


@pytest.fixture
def serve(store: FileStore, read_users: list[str]) -> Callable[..., tuple[RecommendHttp, Sink]]:
    """Return a function that makes the HTTP API with some users restricted."""
    release_model(store, two_group_model())

    def history(user_id: str, _: datetime | None) -> History:
        read_users.append(user_id)
        rated = [RatedMovie(make_movie_id(i + int(user_id) % 2), 5, NOW - timedelta(days=1)) for i in (0, 2, 4)]
        return History(tuple(rated), ())

    def make(*users: str) -> tuple[RecommendHttp, Sink]:
        recommender = Recommender(
            ReleaseCache(store, refresh_s=3_600, background=False),
            objects=DeadlineExecutor("objects", deadline_ms=5_000),
            history=history,
            restricted=RestrictedUsers(lambda: marks(1, *users)),
        )
        sink = Sink()
        return RecommendHttp(recommender, sink, now=lambda: NOW), sink

    return make


@pytest.mark.parametrize("accept", ["", "application/json"])
def test_recommend_restricted_users_with_opposite_histories_get_equal_bytes(
    serve: Callable[..., tuple[RecommendHttp, Sink]], read_users: list[str], accept: str
) -> None:
    """Their lists differ before; then they are equal, no history is read, and no impression is sent."""
    users = ("1000", "1001", "2", "3")
    http, sink = serve()
    groups = [{get_group(m) for m in http.reply("GET", f"/recommend/{u}").body.decode().split(",")} for u in users]
    assert groups == [{0}, {1}, {0}, {1}]
    assert len(sink.kept) == len(users)
    read_users.clear()
    http, sink = serve(*users)
    replies = [http.reply("GET", f"/recommend/{user}", accept) for user in users]
    assert {(r.status, r.body, tuple(sorted((r.headers or {}).items()))) for r in replies} == {
        (200, replies[0].body, tuple(sorted((replies[0].headers or {}).items())))
    }
    similar = f"/similar/{make_movie_id(5)}"
    assert len({http.reply("GET", similar, accept, f"user={user}").body for user in users}) == 1
    assert (read_users, sink.kept) == ([], [])


def test_recommend_marks_not_read_yet_is_noted(store: FileStore) -> None:
    """An instance that starts beside an unavailable database says why no user has a profile."""

    def read() -> MarkSet:
        raise Unavailable("away")

    release_model(store)
    cache = ReleaseCache(store, refresh_s=3_600, background=False)
    objects = DeadlineExecutor("objects", deadline_ms=5_000)
    http = RecommendHttp(Recommender(cache, objects=objects, restricted=RestrictedUsers(read)), now=lambda: NOW)
    similar = f"/similar/{make_movie_id(5)}"
    for path, query, note in (
        ("/recommend/1000", "", "database-unavailable"),
        ("/recommend/1000", "profile=off", None),
        (similar, "user=1000", "database-unavailable"),
        (similar, "", None),
    ):
        reply = http.reply("GET", path, query=query)
        assert (reply.status, (reply.headers or {}).get("Marquee-Notes")) == (200, note)


def test_restricted_users_are_read_again_once_a_second() -> None:
    """A user who is marked now is restricted a second later; in between nothing is read."""
    now, versions, calls = [0.0], [marks(0)], []

    def read() -> MarkSet:
        calls.append(now[0])
        return versions[-1]

    is_restricted = RestrictedUsers(read, now_s=lambda: now[0])
    assert not is_restricted("42")
    versions.append(marks(1, "42"))
    now[0] = 0.9
    assert not is_restricted("42")
    now[0] = 1.0
    assert is_restricted("42")
    assert not is_restricted("7")
    assert calls == [0.0, 1.0]


@pytest.mark.parametrize("error", [Unavailable("away"), DatabaseRefused("no table")])
def test_restricted_users_database_away_keeps_the_last_marks_or_restricts_everybody(error: Exception) -> None:
    """Marks that were read once hold; before that no history is read of anybody."""
    now, results = [0.0], [error]

    def read() -> MarkSet:
        if isinstance(results[-1], Exception):
            raise results[-1]
        return marks(1, "42")

    is_restricted = RestrictedUsers(read, now_s=lambda: now[0])
    assert is_restricted("7")
    results.append(None)  # type: ignore[arg-type]
    now[0] = 1.0
    assert not is_restricted("7")
    results.append(error)
    now[0] = 2.0
    assert is_restricted("42")
    assert not is_restricted("7")


def test_restricted_users_key_wrong_restricts_everybody_until_it_is_right() -> None:
    """Marks that were read before do not hold: since then a user was marked whom the key cannot recognize."""
    now, results = [0.0], [marks(0)]

    def read() -> MarkSet:
        if len(results) == 2:
            raise PrivacyKeyWrong("the key is not set")
        return results[-1]

    restricted = RestrictedUsers(read, now_s=lambda: now[0])
    assert (restricted("7"), restricted.problem) == (False, "")
    results.append(marks(1, "42"))
    now[0] = 1.0
    assert (restricted("7"), restricted.problem) == (True, "the key is not set")
    results.append(marks(1, "42"))
    now[0] = 2.0
    assert (restricted("7"), restricted("42"), restricted.problem) == (False, True, "")
