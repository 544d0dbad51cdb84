"""The service over HTTP: paths, statuses, headers, text and JSON. No framework is needed to read it.

GET /recommend/<user_id>   200 one line of movie ids, or JSON; 400 malformed id; 503 nothing to say yet
GET /healthz               200 while the process lives
GET /readyz                200 once a real recommendation came out, else 503
GET /version               200 what runs, what serves, what was refused

``GET /metrics`` is marquee.serving.instrumentation's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

import marquee
from marquee.errors import InvalidUserId, NothingToRecommend
from marquee.serving.engine import ScoredMovie
from marquee.serving.recommender import Answer, RatingInterval, Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.user_id import check_user_id

if TYPE_CHECKING:  # Only where impressions are kept.
    from marquee.serving.impressions import ImpressionSender

log = logging.getLogger(__name__)

TEXT, JSON = "text/plain; charset=utf-8", "application/json"
RETRY_AFTER_S = 2
RECOMMEND = "/recommend/"
_KNOWN = "GET /recommend/<user_id>, /healthz, /readyz, /version or /metrics"
_READINESS_USER = "0"

_encode = msgspec.json.Encoder().encode


class Reply(msgspec.Struct, frozen=True):
    """What goes back to the caller; ``answer`` is what it was made of, where it is a recommendation."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: dict[str, str] = {}
    answer: Answer | None = None


class RecommendHttp:
    """Requests in, replies out. ``impressions`` is None where nobody is told what was served."""

    def __init__(
        self,
        recommender: Recommender,
        impressions: ImpressionSender | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._recommender = recommender
        self._impressions = impressions
        self._now = now

    def begin(self) -> None:
        """Begin to load what the first answer needs, in the background."""
        self._recommender.cache.begin()

    def reply(self, method: str, path: str, accept: str = "") -> Reply:
        """Answer one request. ``path`` is decoded and without its query."""
        if not (path.startswith(RECOMMEND) or path in ("/healthz", "/readyz", "/version")):
            return _sentence(404, f"There is nothing at {path[:80]!a}. Ask for {_KNOWN}.")
        if method not in ("GET", "HEAD"):
            said = _sentence(405, f"{method[:20]} is not possible here. Use GET or HEAD.")
            return Reply(said.status, said.body, headers={"Allow": "GET, HEAD"})
        if path == "/healthz":
            return _sentence(200, "ok")
        if path == "/version":
            return Reply(200, _encode(_version(self._recommender.cache)), JSON)
        if path == "/readyz":
            return self._ready()
        return self._recommend(path.removeprefix(RECOMMEND), accept, shown=method == "GET")

    def _recommend(self, raw_user_id: str, accept: str, *, shown: bool) -> Reply:
        try:
            answer = self._recommender.answer(check_user_id(raw_user_id), self._now())
        except InvalidUserId as error:
            return _sentence(400, str(error))
        except NothingToRecommend as error:
            return _not_yet(str(error))
        if shown and self._impressions is not None:
            self._impressions.send(answer.impression())
        return _answered(answer, as_json=prefers_json(accept))

    def _ready(self) -> Reply:
        try:
            answer = self._recommender.answer(_READINESS_USER, self._now())
        except NothingToRecommend as error:
            return _not_yet(str(error))
        return _sentence(200, f"ready: {len(answer.movies)} movies, {answer.tier}")


def prefers_json(accept: str) -> bool:
    """Whether an Accept header names JSON, and plain text no more than it."""
    accept = accept.lower()
    if JSON not in accept:  # Nearly always.
        return False
    weights: dict[str, float] = {}
    for part in accept.split(","):
        media, *parameters = (p.strip() for p in part.split(";"))
        weights[media] = _weight(parameters)
    return weights.get(JSON, 0.0) > 0 and weights.get(JSON, 0.0) >= weights.get("text/plain", 0.0)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _answered(answer: Answer, *, as_json: bool) -> Reply:
    headers = {
        "Marquee-Recommendation-Id": answer.recommendation_id,
        "Marquee-Arm": answer.arm,
        "Marquee-Model-Version": answer.version,
        "Marquee-Tier": answer.tier.value,
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    if answer.notes:
        headers["Marquee-Notes"] = ", ".join(answer.notes)
    if as_json:
        return Reply(200, _encode(_document(answer)), JSON, headers, answer)
    return Reply(200, ",".join(movie.movie_id for movie in answer.movies).encode(), TEXT, headers, answer)


def _document(answer: Answer) -> dict[str, object]:
    return {
        "recommendation_id": answer.recommendation_id,
        "user_id": answer.user_id,
        "arm": answer.arm,
        "model_version": answer.version,
        "release": answer.release,
        "tier": answer.tier.value,
        "notes": answer.notes,
        "movies": [_movie(movie, answer.likely) for movie in answer.movies]
        if answer.likely
        else answer.movies,
    }


def _movie(movie: ScoredMovie, likely: RatingInterval) -> dict[str, object]:
    """With the interval that will hold the rating, mostly: ``Manifest.interval`` says how mostly."""
    interval = None if movie.rating is None else likely.about(movie.rating)
    return {**msgspec.structs.asdict(movie), "interval": interval}


def _version(cache: ReleaseCache) -> dict[str, object]:
    serving = cache.serving()
    return {
        "version": marquee.__version__,
        "release": serving.release.number if serving else None,
        "arms": [
            {"name": a.name, "version": a.version, "weight": a.weight}
            for a in (serving.release.arms if serving else ())
        ],
        "refusals": cache.refusals,
        "object_store": cache.store_away or "ok",
    }


def _sentence(status: int, text: str) -> Reply:
    return Reply(status, text.encode("ascii", "backslashreplace") + b"\n")


def _not_yet(reason: str) -> Reply:
    said = _sentence(503, f"Nothing can be recommended yet. {reason}")
    return Reply(said.status, said.body, headers={"Retry-After": str(RETRY_AFTER_S)})
