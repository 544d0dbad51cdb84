"""Client of ``recommend``, as the streaming service calls it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from types import TracebackType
from urllib.parse import quote, urlsplit

import aiohttp

from marquee.errors import SettingsError
from marquee.events.kinds import RecommendationRequest
from marquee.events.record_syntax import is_movie_id
from marquee.simulate.report import ResponseHistogram

# Ids that no user has: words, signs, an empty text, too long, other alphabets, a path traversal.
INVALID_USER_IDS = ("abc", "-1", " ", "12x4", "1.5", "9" * 400, "١٢٣", "../1", "1,2", "\x00", "' or 1=1")
_MAX_RESULT_LENGTH = 500


class RecommendClient:
    """An asynchronous context manager that requests ``GET <url>/recommend/<user>`` with a time limit.

    ``key`` is that of the service, if it requires one.
    """

    def __init__(self, url: str, timeout_ms: int, key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{url!r} is not the URL of a recommendation service, such as http://host:port")
        self._url, self._timeout_ms, self._key = url.rstrip("/"), timeout_ms, key
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._address = self._host
        self.server = f"{self._host}:{self._port}"
        self.statuses: Counter[int] = Counter()
        self.invalid_statuses: Counter[int] = Counter()
        self.invalid_responses = 0
        """Responses with status 200 whose body is empty or not a list of movie ids."""
        self.response_times = ResponseHistogram()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> RecommendClient:
        self._address = await self._resolve()
        self._session = aiohttp.ClientSession(
            # Requests leave when they are due, however many are in flight.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
            timeout=aiohttp.ClientTimeout(total=self._timeout_ms / 1000),
            headers={"Accept": "text/plain"} | ({"Marquee-Key": self._key} if self._key else {}),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def _resolve(self) -> str:
        try:
            addresses = await asyncio.get_running_loop().getaddrinfo(self._host, self._port)
        except OSError:
            return self._host
        return str(addresses[0][4][0])

    async def request(self, user_id: str) -> RecommendationRequest:
        """Request a recommendation; return the request as the event log records it. Failures do not raise."""
        at, started = datetime.now(UTC), time.perf_counter()
        status, text = await self._get(user_id)
        ms = (time.perf_counter() - started) * 1000
        self.response_times.add(ms)
        self.statuses[status] += 1
        movie_ids, result = (tuple(text.split(", ") if text else ()), "") if status == 200 else ((), text)
        self.invalid_responses += status == 200 and not (movie_ids and all(map(is_movie_id, movie_ids)))
        return RecommendationRequest(at, user_id, self.server, status, movie_ids, result, round(ms))

    async def request_invalid(self, number: int) -> None:
        """Send a request with an invalid user id and count its status (400 is right). It is not logged."""
        user_id = INVALID_USER_IDS[number % len(INVALID_USER_IDS)]
        status, _ = await self._get(user_id)
        self.invalid_statuses[status] += 1

    async def _get(self, user_id: str) -> tuple[int, str]:
        assert self._session is not None, "the client must be used inside `async with`"
        from yarl import URL

        url = URL(f"{self._url}/recommend/{quote(user_id, safe='')}", encoded=True)
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                text = await response.text(errors="replace")
                return response.status, _format_result(response.status, text, response.reason or "")
        except TimeoutError:
            return 0, self._format_failure("java.util.concurrent.TimeoutException: Request timeout to", True)
        except aiohttp.ClientConnectorError as error:
            failure = self._format_failure("java.net.ConnectException: Connection refused:")
            return 0, f"{failure} ({error.os_error.strerror or type(error.os_error).__name__})"
        except (aiohttp.ClientError, OSError) as error:
            return 0, f"{self._format_failure('java.io.IOException: Connection lost:')} {type(error).__name__}"

    def _format_failure(self, reason: str, timeout: bool = False) -> str:
        text = f"{reason} {self._host}/{self._address}:{self._port}"
        return f"{text} after {self._timeout_ms} ms" if timeout else text


def _format_result(status: int, text: str, reason: str) -> str:
    """Return the response on one line: ids joined as in the event log, any other text truncated."""
    if status == 200:
        return ", ".join(part.strip() for part in " ".join(text.split()).split(","))
    # Printable ASCII only: whatever a proxy answers, the record stays one readable line.
    plain = " ".join("".join(c if " " <= c <= "~" else " " for c in text).split())
    return plain[:_MAX_RESULT_LENGTH].strip() or reason or "no text"
