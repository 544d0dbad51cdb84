"""Client of ``recommend``: the list of a user with reasons, and the movies similar to a movie."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import msgspec

from marquee.config.http_client import HttpClient
from marquee.errors import RecommendationsUnavailable, RequestFailed

TIMEOUT_S = 0.8
KEY_HEADER = "Marquee-Key"


class PastMovie(msgspec.Struct, frozen=True):
    """A movie of the user's history that contributed to a score."""

    movie_id: str


class ListReason(msgspec.Struct, frozen=True):
    """Explanation of a movie in a list: the past movies that contributed most to its score."""

    because: tuple[PastMovie, ...] = ()


class RecommendedMovie(msgspec.Struct, frozen=True):
    """A movie of a list with its predicted rating."""

    movie_id: str
    rating: float | None = None
    reason: ListReason = ListReason()

    @property
    def because(self) -> str:
        """The past movie that contributed most; empty if there is none."""
        return self.reason.because[0].movie_id if self.reason.because else ""


class ShownList(msgspec.Struct, frozen=True):
    """A list of movies. ``recommendation_id`` is empty if no impression is logged."""

    movies: tuple[RecommendedMovie, ...]
    recommendation_id: str = ""
    tier: str = ""


class Recommendations:
    """The function ``recommend`` at ``url``.

    ``key`` is the API key, empty if none is required. ``authorize`` returns the headers that identify this service to
    the platform in front of the function; it may raise :class:`RequestFailed`.
    """

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        timeout_s: float = TIMEOUT_S,
        authorize: Callable[[], dict[str, str]] | None = None,
    ) -> None:
        self._http = HttpClient(url, timeout_s=timeout_s)
        self._authorize = authorize or dict
        self._headers = {"Accept": "application/json"} | ({KEY_HEADER: key} if key else {})

    def read_list(self, user_id: str, *, personal: bool = True) -> ShownList:
        """Return the list of a user with reasons; unless ``personal``, a list that does not use the history.

        Raises :class:`RecommendationsUnavailable`.
        """
        return self._read(f"/recommend/{quote(user_id, safe='')}?" + ("explain=1" if personal else "profile=off"))

    def read_similar(self, movie_id: str, count: int) -> ShownList:
        """Return the movies most similar to a movie. Raises :class:`RecommendationsUnavailable`."""
        return self._read(f"/similar/{quote(movie_id, safe='')}?n={count}")

    def _read(self, path: str) -> ShownList:
        try:
            response = self._http.request("GET", path, headers=self._headers | self._authorize())
        except RequestFailed as error:
            raise RecommendationsUnavailable(f"recommend did not answer: {error}") from error
        if response.status != 200:
            raise RecommendationsUnavailable(f"recommend answered with status {response.status}, not 200")
        try:
            return _decode(response.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RecommendationsUnavailable(f"recommend answered with an unexpected document: {error}") from error


_decode = msgspec.json.Decoder(ShownList).decode
