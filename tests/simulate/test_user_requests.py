"""Requests of real users to the simulated movie service: what becomes a record, and what is refused."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC
from typing import Any

import aiohttp
import pytest
from tests.simulate.small_service import ListProducer, synthetic_users

from marquee.events.parser import EventParser
from marquee.simulate.corruption import Corrupter
from marquee.simulate.event_log import EventLog
from marquee.simulate.movie_service import CustomerTable, MovieService, MovieTable
from marquee.simulate.service import SimulationPlan, StreamingService
from marquee.simulate.sessions import ActiveSessions
from marquee.simulate.user_requests import UserRequests

MOVIES = {"heat+1995": {"title": "Heat", "year": "1995", "genres": "Action"}}
USER = {"User-Id": "100000007"}


def make_service(producer: ListProducer) -> StreamingService:
    """Return a service that writes no records of its own, and would corrupt every record of a simulated user."""
    parser = EventParser(UTC)
    corrupters = [Corrupter(1.0, parser, lambda _: False, seed) for seed in (1, 2)]
    log = EventLog(producer, UTC, parser, *corrupters)
    plan = SimulationPlan("synthetic", 1, records_per_second=0, requests_per_second=0)
    return StreamingService(plan, ActiveSessions(synthetic_users(), 1), log, None)


def send(*requests: tuple[str, dict[str, str]], running: bool = True) -> tuple[list[tuple[int, Any]], StreamingService]:
    """Send requests to the movie service of a simulation that runs, or has ended."""

    async def run() -> tuple[list[tuple[int, Any]], StreamingService]:
        service, stop, replies = make_service(ListProducer()), asyncio.Event(), []
        table = MovieTable(1, None, MOVIES)
        users = UserRequests(table, service.write_from_outside)
        async with MovieService(CustomerTable(1, 9), table, users=users) as server, aiohttp.ClientSession() as session:
            simulation = asyncio.ensure_future(service.run(stop))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not running:
                stop.set()
                await simulation
            for path, headers in requests:
                async with session.get(server.url + path, headers=headers) as response:
                    replies.append((response.status, json.loads(await response.text())))
            stop.set()
            await simulation
        return replies, service

    return asyncio.run(run())


def records_of(service: StreamingService) -> list[str]:
    """Return the records without their times."""
    producer = service.event_log.producer
    assert isinstance(producer, ListProducer)
    return [raw.decode().partition(",")[2] for raw in producer.records]


def test_user_requests_become_clean_records_in_the_count() -> None:
    """Each accepted request is one record that the parser accepts, although simulated users' are corrupted."""
    replies, service = send(
        ("/create_account", {}),
        ("/data/m/heat%2B1995/0.mpg", USER),
        ("/data/m/heat+1995/1.mpg", USER),
        ("/rate/heat%2B1995=5", USER),
    )
    assert [status for status, _ in replies] == [200] * 4
    user_id = replies[0][1]["user_id"]
    assert records_of(service) == [
        f"{user_id},GET /create_account",
        "100000007,GET /data/m/heat+1995/0.mpg",
        "100000007,GET /data/m/heat+1995/1.mpg",
        "100000007,GET /rate/heat+1995=5",
    ]
    assert service.report.records == {"watch": 2, "rating": 1, "account": 1} | {
        kind: 0 for kind in service.report.records if kind not in ("watch", "rating", "account")
    }
    assert service.report.malformed == {}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/data/m/heat+1995/1.mpg", {}, 400),
        ("/data/m/heat+1995/1.mpg", {"User-Id": "x"}, 400),
        ("/data/m/heat+1995/201.mpg", USER, 400),
        ("/data/m/heat+1995/-1.mpg", USER, 400),
        ("/data/m/other+1995/1.mpg", USER, 404),
        ("/rate/heat+1995=6", USER, 400),
        ("/rate/heat+1995=0", USER, 400),
        ("/rate/heat+1995=5", {}, 400),
        ("/rate/other+1995=5", USER, 404),
        ("/create_account", {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_user_requests_that_are_invalid_write_nothing(path: str, headers: dict[str, str], status: int) -> None:
    """An invalid request has a status and a message, and leaves no record."""
    replies, service = send((path, headers))
    assert replies[0][0] == status
    assert replies[0][1]["message"]
    assert records_of(service) == []


def test_user_requests_after_the_simulation_are_refused() -> None:
    """A simulation that has ended accepts nothing that its last report would not count."""
    replies, service = send(("/rate/heat+1995=5", USER), running=False)
    assert replies[0][0] == 503
    assert records_of(service) == []
