"""Construction of requests and interpretation of responses, without I/O, for both clients."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict, cast
from urllib.parse import quote

import httpx

from marquee.client.answers import AnsweredReceipt
from marquee.client.outgoing_events import OutgoingEvent

MAX_EVENTS = 1_000
"""Maximum number of events in one request."""

_RETRIED = (429, 502, 503, 504)
_KEY_HEADER = "Marquee-Key"

Parameter: TypeAlias = str | int | float | bool | Sequence[str] | None


class _SharedParameters(TypedDict, total=False):
    """Parameters of lists and of similar movies."""

    n: int | None
    exclude: Sequence[str] | None
    genre: Sequence[str] | None
    year: str | None
    language: Sequence[str] | None
    max_age: int | None
    max_cost: float | None


class RecommendParameters(_SharedParameters, total=False):
    """Parameters of a list; docs/recommend.md describes them."""

    diversity: float | None
    calibrated: bool | None
    page: str | None
    profile: bool | None
    explain: int | None


class SimilarParameters(_SharedParameters, total=False):
    """Parameters of similar movies; docs/recommend.md describes them."""

    user: str | None


class ApiRefused(Exception):
    """A response that a retry cannot change; ``status`` is its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class ApiUnavailable(Exception):
    """No successful response after all attempts. The message describes the last failure."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Number of attempts for a request, and the pauses between them.

    Each attempt may take ``timeout_s`` seconds. The pause is random (full jitter), at most ``base_s`` times two to the
    number of the attempt and at most ``max_pause_s``. It is at least the value of ``Retry-After``.
    """

    attempts: int = 4
    timeout_s: float = 2.0
    base_s: float = 0.1
    max_pause_s: float = 5.0
    uniform: Callable[[float, float], float] = random.uniform

    def pause_s(self, attempt: int, response: httpx.Response | None) -> float | None:
        """Return the seconds to wait after a failed attempt, counted from 0; None if it was the last."""
        if attempt + 1 >= self.attempts:
            return None
        asked = _retry_after_s(response)
        if asked > self.max_pause_s:
            return None
        return max(asked, self.uniform(0.0, min(self.max_pause_s, self.base_s * 2**attempt)))


@dataclass(frozen=True, slots=True)
class Call:
    """One request, relative to the URL of its function. ``query`` begins with a question mark, or is empty."""

    method: str
    path: str
    query: str = ""
    content: bytes | None = None


def check_url(url: str) -> str:
    """Return the URL of a function without a slash at its end. Raises ``ValueError`` if it is not an HTTP URL."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is not the URL of a function, such as http://127.0.0.1:8082")
    return url.rstrip("/")


DIRECT: dict[str, None] = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))
"""Mounts of httpx: a proxy that the environment names does not stand between a caller and its own machine."""


def make_headers(key: str | None) -> dict[str, str]:
    """Return the headers of every request; ``key`` is a key or a token."""
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    return {**headers, _KEY_HEADER: key} if key else headers


def recommend_call(user_id: str, parameters: RecommendParameters) -> Call:
    """Return the request for a list."""
    return Call("GET", f"/recommend/{quote(str(user_id), safe='')}", _format_query(parameters))


def similar_call(movie_id: str, parameters: SimilarParameters) -> Call:
    """Return the request for similar movies."""
    return Call("GET", f"/similar/{quote(movie_id, safe='')}", _format_query(parameters))


def events_calls(events: Iterable[OutgoingEvent]) -> Iterator[Call]:
    """Yield requests with at most ``MAX_EVENTS`` events each. Repeating one is safe, because events have ids."""
    listed = list(events)
    for first in range(0, len(listed), MAX_EVENTS):
        content = json.dumps(listed[first : first + MAX_EVENTS]).encode()
        yield Call("POST", "/events", content=content)


def add_receipt(total: AnsweredReceipt, receipt: AnsweredReceipt, number: int) -> None:
    """Add the receipt of request ``number``, from 0, to the total; its indexes are of the events of that request."""
    total["accepted"] += receipt["accepted"]
    total["repeated"] += receipt["repeated"]
    first = number * MAX_EVENTS
    total["refused"] += [{**refused, "index": refused["index"] + first} for refused in receipt["refused"]]


def pause_or_raise(retries: RetryPolicy, call: Call, attempt: int, failure: httpx.Response | str) -> float:
    """Return the seconds to wait after a failed attempt, counted from 0.

    ``failure`` is the response, or the description of the error if there is none. Raises :class:`ApiUnavailable` after
    the last attempt.
    """
    response = None if isinstance(failure, str) else failure
    pause_s = retries.pause_s(attempt, response)
    if pause_s is None:
        problem = failure if response is None else f"{response.status_code}: {response.text.strip()[:200]}"
        raise ApiUnavailable(f"{call.method} {call.path} failed {attempt + 1} times, finally with {problem}")
    return pause_s


def read_answer(response: httpx.Response) -> Any:
    """Return the decoded JSON of a successful response. Raises :class:`ApiRefused` for any other status."""
    if response.is_success:
        return response.json()
    raise ApiRefused(response.status_code, response.text.strip()[:500])


def is_retried(response: httpx.Response) -> bool:
    """Return True if the same request may succeed later."""
    return response.status_code in _RETRIED


def _retry_after_s(response: httpx.Response | None) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", 0))) if response is not None else 0.0
    except ValueError:  # Retry-After with a date is ignored, because the clocks may differ.
        return 0.0


def _format_query(parameters: RecommendParameters | SimilarParameters) -> str:
    """Return the query string, without parameters that are None or an empty list.

    The functions take a plus as itself. So a space must be %20, and is not left to httpx.
    """
    given = {name: cast("Parameter", value) for name, value in parameters.items() if value not in (None, [], ())}
    return (
        "?" + "&".join(f"{name}={quote(_encode(value), safe='+,')}" for name, value in given.items()) if given else ""
    )


def _encode(value: Parameter) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str | int | float):
        return str(value)
    return ",".join(value or ())
