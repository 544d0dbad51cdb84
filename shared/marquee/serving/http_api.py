"""HTTP API of the recommendation service, independent of any framework.

GET /recommend/<user_id>   200 one line of movie ids, or JSON; 400 malformed id or parameter; 503 nothing yet
GET /similar/<movie_id>    200 one line of movie ids, or JSON; 400; 404 unknown movie; 503 no release yet
GET /healthz               200 while the process lives
GET /readyz                200 if a recommendation can be made, else 503; 503 without the key of the marked users
GET /version               200 program version, release, arms and refusals

:mod:`marquee.serving.instrumentation` adds ``GET /metrics``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

import marquee
from marquee.errors import InvalidRequest, InvalidUserId, NothingToRecommend, UnknownMovie
from marquee.registry.arm_assignment import spread_arms
from marquee.registry.movie_metadata import NO_METADATA
from marquee.serving.answer import Answer
from marquee.serving.list_request import PLAIN, ListRequest
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.user_id import check_user_id

if TYPE_CHECKING:  # Imported only where impressions are sent.
    from marquee.serving.answer_document import AnswerDocument, Explanation, MovieDocument
    from marquee.serving.impressions import ImpressionSender

log = logging.getLogger(__name__)

TEXT, JSON = "text/plain; charset=utf-8", "application/json"
RETRY_AFTER_S = 2
RECOMMEND, SIMILAR = "/recommend/", "/similar/"
_ENDPOINTS = (
    "GET /recommend/<user_id>, /similar/<movie_id>, /docs, /openapi.json, /healthz, /readyz, /version or /metrics"
)
_PATHS = ("/healthz", "/readyz", "/version")
_OTHER_PATHS = ("/metrics", "/openapi.json", "/docs")
"""Paths whose GET and HEAD are answered by others."""
_READINESS_USER = "0"
_TEXT_RANGES = ("text/plain", "text/*", "*/*")
"""Media ranges that include our text, the most specific first."""

_encode = msgspec.json.Encoder().encode


class Reply(msgspec.Struct, frozen=True):
    """HTTP response. ``answer`` is the recommendation that it contains, if any."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: dict[str, str] = {}
    answer: Answer | None = None


class RecommendHttp:
    """Handler of requests. ``impressions`` is None where impressions are not logged."""

    def __init__(
        self,
        recommender: Recommender,
        impressions: ImpressionSender | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.recommender = recommender
        self._impressions = impressions
        self._now = now

    def reply(self, method: str, path: str, accept: str = "", query: str = "") -> Reply:
        """Answer one request. ``path`` is decoded and has no query string; ``query`` is that, not decoded."""
        lists = path.startswith((RECOMMEND, SIMILAR))
        if method not in ("GET", "HEAD") and (lists or path in _PATHS or path in _OTHER_PATHS):
            text = f"{method[:20]} is not allowed here. Use GET or HEAD."
            return make_text_reply(405, text, {"Allow": "GET, HEAD"})
        if not (lists or path in _PATHS):
            return make_text_reply(404, f"There is nothing at {path[:80]!a}. Use {_ENDPOINTS}.")
        if path == "/healthz":
            return make_text_reply(200, "ok")
        if path == "/version":
            return Reply(200, _encode(_describe_version(self.recommender.cache)), JSON)
        if path == "/readyz":
            return self._check_ready()
        if path.startswith(SIMILAR):
            return self._find_similar(path.removeprefix(SIMILAR), accept, query)
        return self._recommend(path.removeprefix(RECOMMEND), accept, query, shown=method == "GET")

    def _recommend(self, raw_user_id: str, accept: str, query: str, *, shown: bool) -> Reply:
        as_json, logged = prefers_json(accept), shown and self._impressions is not None
        try:
            user_id = check_user_id(raw_user_id)
            answer = self.recommender.answer(user_id, self._now(), _parse_query(query), rated=as_json or logged)
        except (InvalidUserId, InvalidRequest) as error:
            return make_text_reply(400, str(error))
        except NothingToRecommend as error:
            return _make_unready_reply(str(error))
        if self._impressions is not None and logged and answer.request.profile:
            self._impressions.send(answer.impression())
        return _make_reply(answer, as_json=as_json)

    def _find_similar(self, movie_id: str, accept: str, query: str) -> Reply:
        as_json = prefers_json(accept)
        try:
            request = _parse_query(query, for_similar=True)
            answer = self.recommender.find_similar(movie_id, self._now(), request, rated=as_json)
        except InvalidRequest as error:
            return make_text_reply(400, str(error))
        except UnknownMovie as error:
            return make_text_reply(404, f"{error}. Ids are those of the event log, such as fargo+1996.")
        except NothingToRecommend as error:
            return _make_unready_reply(str(error))
        return _make_similar_reply(movie_id, answer, as_json=as_json)

    def _check_ready(self) -> Reply:
        try:
            answer = self.recommender.answer(_READINESS_USER, self._now())
        except NothingToRecommend as error:
            return _make_unready_reply(str(error))
        if problem := self.recommender.privacy_problem:
            text = f"Every list is made without a profile. {problem}"
            return make_text_reply(503, text, {"Retry-After": str(RETRY_AFTER_S)})
        return make_text_reply(200, f"ready: {len(answer.movies)} movies, {answer.tier}")


def prefers_json(accept: str) -> bool:
    """Return whether an Accept header names JSON, with a quality no lower than plain text's."""
    accept = accept.lower()
    if JSON not in accept:  # The usual case.
        return False
    qualities: dict[str, float] = {}
    for part in accept.split(","):
        media, *parameters = (p.strip() for p in part.split(";"))
        qualities[media] = _parse_quality(parameters)
    text = next((qualities[media] for media in _TEXT_RANGES if media in qualities), 0.0)
    return qualities.get(JSON, 0.0) > 0 and qualities.get(JSON, 0.0) >= text


def _parse_quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _make_reply(answer: Answer, *, as_json: bool) -> Reply:
    headers = {
        "Marquee-Arm": answer.arm,
        "Marquee-Model-Version": answer.version,
        "Marquee-Tier": answer.tier.value,
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    if answer.recommendation_id:
        headers["Marquee-Recommendation-Id"] = answer.recommendation_id
    next_page = answer.next_page if as_json or answer.request is not PLAIN else ""
    if next_page:
        headers["Marquee-Next-Page"] = next_page
    if answer.notes:
        headers["Marquee-Notes"] = ", ".join(answer.notes)
    if as_json:
        return Reply(200, _encode(_make_document(answer, next_page)), JSON, headers, answer)
    return Reply(200, _list_ids(answer), TEXT, headers, answer)


def _list_ids(answer: Answer) -> bytes:
    return ",".join(movie.movie_id for movie in answer.movies).encode()


# Parameters and JSON are not imported before they are needed: a cold start pays for every module.


def _parse_query(query: str, *, for_similar: bool = False) -> ListRequest:
    if not query:
        return PLAIN
    from marquee.serving.request_parameters import SIMILAR_PARAMETERS, parse_list_request

    return parse_list_request(query, SIMILAR_PARAMETERS if for_similar else ())


def _make_similar_reply(movie_id: str, answer: Answer, *, as_json: bool) -> Reply:
    headers = {
        "Marquee-Arm": answer.arm,
        "Marquee-Model-Version": answer.version,
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    if answer.notes:
        headers["Marquee-Notes"] = ", ".join(answer.notes)
    if not as_json:
        return Reply(200, _list_ids(answer), TEXT, headers)
    from marquee.serving.answer_document import SimilarDocument

    document = SimilarDocument(
        movie_id=movie_id,
        title=answer.metadata.title(answer.rows[movie_id]),
        user_id=answer.user_id,
        arm=answer.arm,
        model_version=answer.version,
        release=answer.release,
        policy=answer.policy,
        notes=answer.notes,
        movies=_make_movies(answer),
    )
    return Reply(200, _encode(document), JSON, headers)


def _make_document(answer: Answer, next_page: str) -> AnswerDocument:
    from marquee.serving.answer_document import AnswerDocument

    return AnswerDocument(
        recommendation_id=answer.recommendation_id,
        user_id=answer.user_id,
        arm=answer.arm,
        model_version=answer.version,
        release=answer.release,
        policy=answer.policy,
        tier=answer.tier.value,
        notes=answer.notes,
        next_page=next_page or None,
        movies=_make_movies(answer),
    )


def _make_movies(answer: Answer) -> tuple[MovieDocument, ...]:
    from marquee.serving.answer_document import MovieDocument

    rows = [answer.rows.get(movie.movie_id) for movie in answer.movies]
    metadata = answer.metadata if any(row is not None for row in rows) else NO_METADATA
    around = None if answer.interval is None else answer.interval.around
    explanations: Sequence[Explanation | msgspec.UnsetType] = answer.explanations or (msgspec.UNSET,) * len(rows)
    return tuple(
        [
            MovieDocument(
                movie.movie_id,
                None if row is None else metadata.title(row),
                None if row is None else metadata.year(row),
                () if row is None else metadata.genre_names(row),
                movie.score,
                movie.rating,
                movie.propensity,
                msgspec.UNSET if around is None else None if movie.rating is None else around(movie.rating),
                explanation,
            )
            for movie, row, explanation in zip(answer.movies, rows, explanations, strict=True)
        ]
    )


def _describe_version(cache: ReleaseCache) -> dict[str, object]:
    loaded = cache.get()
    arms = spread_arms(loaded.release.arms, loaded.release.enrolled) if loaded else []
    return {
        "version": marquee.__version__,
        "release": loaded.release.number if loaded else None,
        "arms": [{"name": arm.name, "version": arm.version, "weight": arm.weight} for arm in arms],
        "refusals": cache.refusals,
        "object_store": cache.store_error or "ok",
    }


def make_text_reply(status: int, text: str, headers: Mapping[str, str] = {}) -> Reply:
    """Return a reply with one sentence in ASCII."""
    return Reply(status, text.encode("ascii", "backslashreplace") + b"\n", headers=dict(headers))


def _make_unready_reply(reason: str) -> Reply:
    text = f"Nothing can be recommended yet. {reason}"
    return make_text_reply(503, text, {"Retry-After": str(RETRY_AFTER_S)})
