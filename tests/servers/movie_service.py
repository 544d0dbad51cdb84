"""The simulated movie service of real users, in a thread of the test process, and the log that it writes."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC

from tests.servers.customers import CustomerServer

from marquee.events.kinds import Event
from marquee.events.parser import format_event
from marquee.simulate.catalog import SyntheticCatalog
from marquee.simulate.movie_service import CustomerTable, MovieService, MovieTable
from marquee.simulate.user_requests import UserRequests

CATALOGUE = SyntheticCatalog(60, 1)
MOVIES = tuple(CATALOGUE.movie_id(number) for number in range(60))


class MovieServer(CustomerServer):
    """A server with 60 synthetic movies. ``records`` are what it logged, without their times."""

    def __init__(self, port: int = 0) -> None:
        self.records: list[str] = []
        self.accepting = True
        table = MovieTable(1, CATALOGUE)
        users = UserRequests(table, self._write)
        self.service = MovieService(CustomerTable(1, 50), table, users=users, port=port)
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def records_of(self, user_id: str) -> list[str]:
        """Return the requests of one user."""
        rows = [record.partition(",") for record in self.records]
        return [request for who, _, request in rows if who == user_id]

    def _write(self, event: Event) -> bool:
        if self.accepting:
            self.records.append(format_event(event, UTC).partition(",")[2])
        return self.accepting
