"""The caller, against a real HTTP server: whatever comes back, the log holds what happened."""

from __future__ import annotations

import asyncio
from zoneinfo import ZoneInfo

import pytest
from tests.servers.recommender import Answer, RecommenderServer

from marquee.errors import SettingsError
from marquee.events.kinds import RecommendationRequest
from marquee.events.parser import EventParser, format_event
from marquee.local.process import free_port
from marquee.simulate.recommend_client import INVALID_USER_IDS, RecommendClient

UTC_ZONE = ZoneInfo("UTC")
pytestmark = pytest.mark.servers


def asked(
    url: str, *user_ids: str, timeout_ms: int = 5_000
) -> tuple[list[RecommendationRequest], RecommendClient]:
    """Ask for each user, one after the other."""

    async def ask() -> tuple[list[RecommendationRequest], RecommendClient]:
        async with RecommendClient(url, timeout_ms) as caller:
            return [await caller.ask(user_id) for user_id in user_ids], caller

    return asyncio.run(ask())


def answered(answer: Answer, timeout_ms: int = 5_000) -> tuple[RecommendationRequest, RecommendClient]:
    with RecommenderServer(lambda user_id: answer) as server:
        (request,), caller = asked(server.url, "42", timeout_ms=timeout_ms)
    return request, caller


def reads_as(request: RecommendationRequest) -> object:
    return EventParser(UTC_ZONE, 5).parse(format_event(request, UTC_ZONE))


@pytest.mark.parametrize("text", ["a+1999,b+2000", "a+1999, b+2000\n", " a+1999 ,b+2000\r\n"])
def test_a_list_is_logged_with_its_ids(text: str) -> None:
    """Whatever the blanks: the ids in order, status 200, and a line that reads as the request."""
    with RecommenderServer(lambda user_id: Answer(200, text)) as server:
        (request,), caller = asked(server.url + "/", "42")
        assert server.asked == ["42"]
        assert request.server == server.url.removeprefix("http://")
    assert (request.status, request.movie_ids, request.user_id) == (200, ("a+1999", "b+2000"), "42")
    assert reads_as(request) == request
    assert (caller.statuses, caller.unusable) == ({200: 1}, 0)


@pytest.mark.parametrize("text", ["", "<html>sorry</html>", '["a+1999"]', "a+1999,,b+2000"])
def test_what_is_no_list_is_counted(text: str) -> None:
    request, caller = answered(Answer(200, text))
    assert (request.status, caller.unusable) == (200, 1)


@pytest.mark.parametrize(
    ("status", "text", "result"),
    [
        (503, "not yet: try again, please", "not yet: try again, please"),
        (404, "", "Not Found"),
        (500, "Traceback:\n  line 1, in x\n\0", "Traceback: line 1, in x"),
        (302, "é, 12 ms", ", 12 ms"),
        (500, "x" * 9_999, "x" * 500),
    ],
)
def test_other_statuses_are_logged_with_their_text(status: int, text: str, result: str) -> None:
    """On one line, in plain characters, cut: and the line reads as the request."""
    request, caller = answered(Answer(status, text))
    assert (request.status, request.movie_ids, request.result) == (status, (), result)
    assert reads_as(request) == request
    assert caller.statuses == {status: 1}


def test_a_late_answer_is_a_timeout() -> None:
    """The caller gives up after its time, logs status 0 in the service's words, and goes on."""
    request, caller = answered(Answer(200, "a+1999", delay_s=0.5), timeout_ms=60)
    port = caller.server.rpartition(":")[2]
    assert request.status == 0
    assert request.result == (
        f"java.util.concurrent.TimeoutException: Request timeout to 127.0.0.1/127.0.0.1:{port} after 60 ms"
    )
    assert request.response_ms >= 60
    assert reads_as(request) == request


def test_nobody_there() -> None:
    request, caller = asked(f"http://127.0.0.1:{free_port()}", "42")[0][0], None
    assert request.status == 0
    assert request.result.startswith("java.net.ConnectException: Connection refused: 127.0.0.1/127.0.0.1:")
    assert reads_as(request) == request
    assert caller is None


def test_times_are_those_of_the_requests() -> None:
    """Each line carries the time at which its request was sent."""
    with RecommenderServer(lambda user_id: Answer(200, "a+1999")) as server:
        requests, caller = asked(server.url, "1", "2", "3")
    times = [request.time for request in requests]
    assert times == sorted(times)
    assert caller.stopwatch.times().count == 3


def test_invalid_requests_arrive_as_they_are() -> None:
    """Every odd user id reaches the server unchanged; the statuses are counted apart."""

    async def ask(url: str) -> RecommendClient:
        async with RecommendClient(url, 5_000) as caller:
            for number in range(len(INVALID_USER_IDS)):
                await caller.ask_invalid(number)
        return caller

    with RecommenderServer(lambda user_id: Answer(400, "a user id is digits")) as server:
        caller = asyncio.run(ask(server.url))
    assert tuple(server.asked) == INVALID_USER_IDS
    assert caller.invalid_statuses == {400: len(INVALID_USER_IDS)}
    assert not caller.statuses


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://127.0.0.1", "http://"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(SettingsError, match="http://host:port"):
        RecommendClient(url, 600)
