"""The synchronous client."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Unpack

import httpx

from marquee.client.answers import AnsweredList, AnsweredReceipt, AnsweredSimilar
from marquee.client.calls import (
    DIRECT,
    Call,
    RecommendParameters,
    RetryPolicy,
    SimilarParameters,
    add_receipt,
    check_url,
    events_calls,
    is_retried,
    make_headers,
    pause_or_raise,
    read_answer,
    recommend_call,
    similar_call,
)
from marquee.client.outgoing_events import OutgoingEvent


class MarqueeClient:
    """Client of ``recommend`` at ``url`` and of ``events`` at ``events_url``, by default the same.

    Close it, or use it in a ``with``. ``key`` is an API key or a token (docs/access.md). ``retries`` governs the
    repetition of requests that fail in transit or with 429, 502, 503 or 504. Events have ids, so a repeated event is
    stored once. Thread-safe.

    Each call raises ``ApiRefused`` for a response that a retry cannot change, and ``ApiUnavailable`` after the last
    attempt.
    """

    def __init__(
        self,
        url: str,
        *,
        events_url: str | None = None,
        key: str | None = None,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url, self._events_url, self._retries = check_url(url), check_url(events_url or url), retries
        self._http = httpx.Client(
            headers=make_headers(key), timeout=retries.timeout_s, transport=transport, mounts=DIRECT
        )

    def recommend(self, user_id: str, **parameters: Unpack[RecommendParameters]) -> AnsweredList:
        """Return movies for a user, best first; docs/recommend.md describes the parameters."""
        answer: AnsweredList = self._answer(self._url, recommend_call(user_id, parameters))
        return answer

    def similar(self, movie_id: str, **parameters: Unpack[SimilarParameters]) -> AnsweredSimilar:
        """Return the movies that are most similar to a movie; with ``user``, mixed with that user's scores."""
        answer: AnsweredSimilar = self._answer(self._url, similar_call(movie_id, parameters))
        return answer

    def send(self, events: Iterable[OutgoingEvent]) -> AnsweredReceipt:
        """Send events, in requests of at most 1,000, and return the totals; ``index`` counts all events."""
        total: AnsweredReceipt = {"accepted": 0, "repeated": 0, "refused": []}
        for number, call in enumerate(events_calls(events)):
            receipt: AnsweredReceipt = self._answer(self._events_url, call)
            add_receipt(total, receipt, number)
        return total

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> MarqueeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, url: str, call: Call) -> Any:
        for attempt in itertools.count():
            failure: httpx.Response | str
            try:
                failure = response = self._http.request(call.method, url + call.path + call.query, content=call.content)
                if not is_retried(response):
                    return read_answer(response)
            except httpx.TransportError as error:
                failure = f"{type(error).__name__}: {error}"
            time.sleep(pause_or_raise(self._retries, call, attempt, failure))
