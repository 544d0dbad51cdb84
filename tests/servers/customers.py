"""The simulated customer and movie service, in a thread of the test process."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

from marquee.simulate.movie_service import CustomerTable, MovieService, MovieTable


class CustomerServer:
    """A server with synthetic customers 1 to ``max_id``; :attr:`service` is the simulator's own object."""

    def __init__(self, max_id: int = 50, requests_per_second: float = 0.0) -> None:
        self.service = MovieService(
            CustomerTable(1, max_id), MovieTable(1, None), requests_per_second=requests_per_second
        )
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    @property
    def url(self) -> str:
        return self.service.url

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        async with self.service:
            self._ready.set()
            await self._stop.wait()
