"""The customer service as the simulator plays it, in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading

from marquee.simulate.movie_service import Movies, MovieService, People


class Played:
    """Knows users 1 to ``users``; ``service`` is the simulator's own object."""

    def __init__(self, users: int = 50, per_second: float = 0.0) -> None:
        self.service = MovieService(People(1, users), Movies(1, None), per_second=per_second)
        self._loop = asyncio.new_event_loop()
        self._up, self._done = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    @property
    def url(self) -> str:
        return self.service.url

    def __enter__(self) -> Played:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        async with self.service:
            self._up.set()
            await self._done.wait()
