"""The playground: rate movies, and see what `recommend` answers.

The browser talks to this server only. Lists and similar movies come from `recommend`, ratings go to `events`, and a
comparison computes the list of a stored release in this process, from the same history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import takewhile
from typing import Any

import msgspec

from marquee.config.http_client import HttpClient, HttpResponse
from marquee.db.pool import Database
from marquee.db.user_history import History, user_history
from marquee.errors import NothingToRecommend, RequestFailed
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.registry.object_store.connect import connect
from marquee.registry.release import Release, iter_releases
from marquee.serving.fixed_release import load_recommender
from marquee.serving.http_api import RecommendHttp
from marquee.serving.recommender import Recommender

MAX_RELEASES = 30
"""Releases that can be compared: the newest."""
_TIMEOUT_S = 10.0
_HISTORY_DEADLINE_MS = 5_000
_JSON = {"Accept": "application/json", "Content-Type": "application/json"}


@dataclass(frozen=True)
class PlaygroundSettings:
    """Addresses of `recommend`, `events` and the object store, the key of both functions, and the rating scale."""

    recommend_url: str
    events_url: str
    objects_url: str
    key: str = ""
    scale: LogScale = FIVE_STARS


class Playground:
    """The playground's calls; safe to share between threads."""

    def __init__(self, settings: PlaygroundSettings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._recommend = HttpClient(settings.recommend_url, timeout_s=_TIMEOUT_S)
        self._events = HttpClient(settings.events_url, timeout_s=_TIMEOUT_S)
        self._headers = {**_JSON, "Marquee-Key": settings.key} if settings.key else _JSON
        self._recommender: Callable[[int, str], Recommender] = lru_cache(maxsize=4)(self._load)

    def ask(self, path: str) -> HttpResponse:
        """Return the response of `recommend` to a path with its query string."""
        return _request("recommend", lambda: self._recommend.request("GET", path, headers=self._headers))

    def send(self, body: bytes) -> HttpResponse:
        """Return the response of `events` to a body of events."""
        return _request("events", lambda: self._events.request("POST", "/events", body, self._headers))

    def compare(self, release: int, arm: str, user_id: str, query: str) -> HttpResponse:
        """Return the answer that an arm of a release would give to a user."""
        reply = RecommendHttp(self._recommender(release, arm)).reply(
            "GET", f"/recommend/{user_id}", "application/json", query
        )
        return HttpResponse(reply.status, {"content-type": reply.content_type}, reply.body)

    def describe(self) -> dict[str, Any]:
        """Return the releases that can be compared, the current one first, and the rating scale."""
        releases = []
        for release in iter_releases(connect(self._settings.objects_url, read_only=True)):
            releases.append(_describe_release(release))
            if len(releases) == MAX_RELEASES:
                break
        return {"releases": releases, "ratings": self._settings.scale.ratings}

    def list_rollbacks(self, since: datetime) -> list[tuple[datetime, str]]:
        """Return time and reason of the rollbacks since then, the newest first."""
        releases = iter_releases(connect(self._settings.objects_url, read_only=True))
        newer = takewhile(lambda release: release.created >= since, releases)
        return [(release.created, release.reason) for release in newer if release.restores is not None]

    def list_movies(self) -> list[dict[str, Any]]:
        """Return all movies of the current release, the most popular first."""
        loaded = load_recommender(self._settings.objects_url).cache.get()
        if loaded is None:
            raise NothingToRecommend("there is no release yet")
        factors = next(iter(loaded.engines.values())).item_factors
        order = (-factors.popularity).argsort(kind="stable")
        ids = list(factors.items)
        metadata = factors.metadata
        return [
            {
                "movie_id": ids[row],
                "title": metadata.title(row),
                "year": metadata.year(row),
                "genres": metadata.genre_names(row),
            }
            for row in order.tolist()
        ]

    def read_user(self, user_id: str) -> dict[str, Any]:
        """Return a user's ratings and watched movies since the beginning, the newest first."""
        history = self._read_history(user_id, None)
        document: dict[str, Any] = msgspec.to_builtins({"ratings": history.ratings, "watched": history.watched})
        return document

    def _load(self, release: int, arm: str) -> Recommender:
        return load_recommender(self._settings.objects_url, release=release, arm=arm, history=self._read_history)

    def _read_history(self, user_id: str, since: Any) -> History:
        return user_history(self._database, user_id, since, _HISTORY_DEADLINE_MS)


def _request(function: str, send: Callable[[], HttpResponse]) -> HttpResponse:
    """Return the response of a function. Raises :class:`RequestFailed` that names it."""
    try:
        return send()
    except RequestFailed as error:
        raise RequestFailed(f"{function} did not answer: {error}") from error


def _describe_release(release: Release) -> dict[str, Any]:
    arms = [
        {"name": arm.name, "version": arm.version, "weight": arm.weight, "policy": arm.policy.number}
        for arm in release.arms
    ]
    created = release.created.isoformat(timespec="seconds")
    return {"number": release.number, "created": created, "reason": release.reason, "arms": arms}
