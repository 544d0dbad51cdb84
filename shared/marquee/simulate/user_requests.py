"""HTTP requests of real users to the simulated movie service, which become records of the event log.

``GET /create_account`` returns a new user id. ``GET /data/m/<movie_id>/<minute>.mpg`` and
``GET /rate/<movie_id>=<rating>`` are requests of the user that the header ``User-Id`` names. A page of another site
cannot send that header, and is refused an account by its ``Sec-Fetch-Site``.

The simulation writes these records with its own producer: a second one on the topic would break the exact counts, and
the embedded broker on files does not support two (docs/local.md).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from marquee.events.kinds import AccountCreated, Rating, Watch
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.events.record_syntax import is_user_id

USER_HEADER = "User-Id"
RETRY_AFTER_S = 1
# Above the ids of base data and of synthetic users, and random, since the ids of earlier runs are not known.
_FIRST_USER, _USER_IDS = 100_000_000, 900_000_000

UserRequest = Watch | Rating | AccountCreated


class UserRequests:
    """Handlers of users' requests.

    ``find_movie`` returns a movie with its ``runtime``, or None. ``write`` writes an event to the log, and returns
    False if the log does not accept it now.
    """

    def __init__(
        self,
        find_movie: Callable[[str], Mapping[str, Any] | None],
        write: Callable[[UserRequest], bool],
        scale: LogScale = FIVE_STARS,
    ) -> None:
        self._find_movie, self._write, self._scale = find_movie, write, scale

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the paths of the requests."""
        router.add_get("/create_account", self._create_account)
        router.add_get("/data/m/{movie_id}/{minute}.mpg", self._watch)
        router.add_get("/rate/{movie_id:[^/]+}={rating}", self._rate)

    async def _create_account(self, request: web.Request) -> web.Response:
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return _reply(403, "a page of another site cannot create an account")
        user_id = str(_FIRST_USER + secrets.randbelow(_USER_IDS))
        return self._log(AccountCreated(_now(), user_id), user_id=int(user_id))

    async def _watch(self, request: web.Request) -> web.Response:
        user_id, movie_id = request.headers.get(USER_HEADER, ""), request.match_info["movie_id"]
        if not is_user_id(user_id):
            return _reply(400, f"the header {USER_HEADER} must be a user id: 1 to 20 digits")
        movie = self._find_movie(movie_id)
        if movie is None:
            return _reply(404, "movie not found")
        minute = _read_number(request.match_info["minute"])
        if minute is None or minute > movie["runtime"]:
            return _reply(400, f"the minute must be 0 to {movie['runtime']}")
        return self._log(Watch(_now(), user_id, movie_id, minute))

    async def _rate(self, request: web.Request) -> web.Response:
        user_id, movie_id = request.headers.get(USER_HEADER, ""), request.match_info["movie_id"]
        if not is_user_id(user_id):
            return _reply(400, f"the header {USER_HEADER} must be a user id: 1 to 20 digits")
        if self._find_movie(movie_id) is None:
            return _reply(404, "movie not found")
        rating = self._scale.read(request.match_info["rating"])
        if rating is None:
            return _reply(400, f"the rating must be {self._scale}")
        return self._log(Rating(_now(), user_id, movie_id, rating))

    def _log(self, event: UserRequest, **document: object) -> web.Response:
        if not self._write(event):
            return _reply(503, "the event log does not accept records now", Retry_After=str(RETRY_AFTER_S))
        return web.json_response(document or {"message": "logged"})


def _reply(status: int, message: str, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"message": message}, status=status, headers=named)


def _read_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else None


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
