"""The service's side of the recommendation call: it waits as long as agreed, and notes what came."""

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
from marquee.simulate.report import Stopwatch

# User ids that no customer has: words, signs, nothing, too long, other alphabets, a way out of the path.
INVALID_USER_IDS = ("abc", "-1", " ", "12x4", "1.5", "9" * 400, "١٢٣", "../1", "1,2", "\x00", "' or 1=1")
_LONGEST_RESULT = 500


class RecommendClient:
    """Asks ``GET <url>/recommend/<user>`` and gives up after ``timeout_ms``. An async context manager."""

    def __init__(self, url: str, timeout_ms: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{url!r} is not where recommendations are: it should be http://host:port")
        self._url, self._timeout_ms = url.rstrip("/"), timeout_ms
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._address = self._host
        self.server = f"{self._host}:{self._port}"
        self.statuses: Counter[int] = Counter()
        self.invalid_statuses: Counter[int] = Counter()
        self.unusable = 0
        """Answers of status 200 that are no list of movie ids, or an empty one."""
        self.stopwatch = Stopwatch()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> RecommendClient:
        self._address = await self._resolve()
        self._session = aiohttp.ClientSession(
            # Requests leave when they are due, however many are on their way.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
            timeout=aiohttp.ClientTimeout(total=self._timeout_ms / 1000),
            headers={"Accept": "text/plain"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def _resolve(self) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port)
        except OSError:
            return self._host
        return str(found[0][4][0])

    async def ask(self, user_id: str) -> RecommendationRequest:
        """One request for a customer, with its outcome as the service logs it; never raises for a failure."""
        at, started = datetime.now(UTC), time.perf_counter()
        status, text = await self._get(user_id)
        ms = (time.perf_counter() - started) * 1000
        self.stopwatch.add(ms)
        self.statuses[status] += 1
        movie_ids, result = (tuple(text.split(", ") if text else ()), "") if status == 200 else ((), text)
        self.unusable += status == 200 and not (movie_ids and all(map(is_movie_id, movie_ids)))
        return RecommendationRequest(at, user_id, self.server, status, movie_ids, result, round(ms))

    async def ask_invalid(self, number: int) -> int:
        """One request that no customer would make; the status (400 is right). The service does not log it."""
        user_id = INVALID_USER_IDS[number % len(INVALID_USER_IDS)]
        status, _ = await self._get(user_id)
        self.invalid_statuses[status] += 1
        return status

    async def _get(self, user_id: str) -> tuple[int, str]:
        assert self._session is not None, "the caller is used inside `async with`"
        from yarl import URL

        url = URL(f"{self._url}/recommend/{quote(user_id, safe='')}", encoded=True)
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                text = await response.text(errors="replace")
                return response.status, _result(response.status, text, response.reason or "")
        except TimeoutError:
            return 0, self._complaint("java.util.concurrent.TimeoutException: Request timeout to", True)
        except aiohttp.ClientConnectorError as error:
            return 0, f"{self._complaint('java.net.ConnectException: Connection refused:')} {_errno(error)}"
        except (aiohttp.ClientError, OSError) as error:
            return 0, f"{self._complaint('java.io.IOException: Connection lost:')} {type(error).__name__}"

    def _complaint(self, what: str, timeout: bool = False) -> str:
        where = f"{what} {self._host}/{self._address}:{self._port}"
        return f"{where} after {self._timeout_ms} ms" if timeout else where


def _errno(error: aiohttp.ClientConnectorError) -> str:
    return f"({error.os_error.strerror or type(error.os_error).__name__})"


def _result(status: int, text: str, reason: str) -> str:
    """One line: the ids joined as the log joins them, or the text of any other answer, cut."""
    if status == 200:
        return ", ".join(part.strip() for part in " ".join(text.split()).split(","))
    # Printable ASCII only: whatever a proxy answers, the outcome stays one readable line.
    plain = " ".join("".join(c if " " <= c <= "~" else " " for c in text).split())
    return plain[:_LONGEST_RESULT].strip() or reason or "no text"
