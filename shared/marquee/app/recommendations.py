"""Client of ``recommend``: the list of a user with reasons, and movies similar to one."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import quote

import msgspec

from marquee.config.http_client import HttpClient
from marquee.errors import RecommendationsUnavailable, RequestFailed

T = TypeVar("T")

TIMEOUT_S = 0.8


class RecommendedMovie(msgspec.Struct, frozen=True):
    """A movie of a list. ``rating`` is the predicted one, ``because`` the movie that contributed most."""

    movie_id: str
    rating: float | None = None
    because: str | None = None


class AnsweredList(msgspec.Struct, frozen=True):
    """A recommendation. ``recommendation_id`` is empty where no impression is logged."""

    recommendation_id: str
    tier: str
    movies: tuple[RecommendedMovie, ...] = ()


class Recommendations:
    """The function ``recommend`` at ``url``; ``key`` is the key that it requires, if any."""

    def __init__(self, url: str, key: str = "", *, timeout_s: float = TIMEOUT_S) -> None:
        self._http = HttpClient(url, timeout_s=timeout_s)
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def read_list(self, user_id: str) -> AnsweredList:
        """Return the list of a user. Raises :class:`RecommendationsUnavailable`."""
        return self._read(f"/recommend/{quote(user_id, safe='')}", AnsweredList)

    def _read(self, path: str, kind: type[T]) -> T:
        try:
            response = self._http.request("GET", path, headers=self._headers)
        except RequestFailed as error:
            raise RecommendationsUnavailable(f"recommend did not answer: {error}") from error
        if response.status != 200:
            raise RecommendationsUnavailable(f"recommend answered with status {response.status}")
        try:
            return msgspec.json.decode(response.body, type=kind)
        except msgspec.MsgspecError as error:
            raise RecommendationsUnavailable(f"recommend answered with something else: {error}") from error
