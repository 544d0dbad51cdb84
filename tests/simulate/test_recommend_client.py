"""The client of ``recommend`` against a real HTTP server: the event log records every outcome."""

from __future__ import annotations

import asyncio
from zoneinfo import ZoneInfo

import pytest
from tests.servers.recommender import RecommenderServer, StubResponse

from marquee.errors import SettingsError
from marquee.events.kinds import RecommendationRequest
from marquee.events.parser import EventParser, format_event
from marquee.local.process import free_port
from marquee.simulate.recommend_client import INVALID_USER_IDS, RecommendClient

UTC_ZONE = ZoneInfo("UTC")
pytestmark = pytest.mark.servers


def request_all(
    url: str, *user_ids: str, timeout_ms: int = 5_000
) -> tuple[list[RecommendationRequest], RecommendClient]:
    """Request a recommendation for each user in order."""

    async def run() -> tuple[list[RecommendationRequest], RecommendClient]:
        async with RecommendClient(url, timeout_ms) as client:
            return [await client.request(user_id) for user_id in user_ids], client

    return asyncio.run(run())


def request_stub(response: StubResponse, timeout_ms: int = 5_000) -> tuple[RecommendationRequest, RecommendClient]:
    with RecommenderServer(lambda user_id: response) as server:
        (request,), client = request_all(server.url, "42", timeout_ms=timeout_ms)
    return request, client


def parse_record(request: RecommendationRequest) -> object:
    return EventParser(UTC_ZONE).parse(format_event(request, UTC_ZONE))


@pytest.mark.parametrize("text", ["a+1999,b+2000", "a+1999, b+2000\n", " a+1999 ,b+2000\r\n"])
def test_request_list_is_logged_with_its_ids(text: str) -> None:
    """The record has the ids in order, whatever the whitespace, and parses as the request."""
    with RecommenderServer(lambda user_id: StubResponse(200, text)) as server:
        (request,), client = request_all(server.url + "/", "42")
        assert server.user_ids == ["42"]
        assert request.server == server.url.removeprefix("http://")
    assert (request.status, request.movie_ids, request.user_id) == (200, ("a+1999", "b+2000"), "42")
    assert parse_record(request) == request
    assert (client.statuses, client.invalid_responses) == ({200: 1}, 0)


@pytest.mark.parametrize("text", ["", "<html>sorry</html>", '["a+1999"]', "a+1999,,b+2000"])
def test_request_body_without_list_is_counted(text: str) -> None:
    """A response with status 200 that is not a list of movie ids counts as invalid."""
    request, client = request_stub(StubResponse(200, text))
    assert (request.status, client.invalid_responses) == (200, 1)


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
def test_request_other_status_is_logged_with_its_text(status: int, text: str, result: str) -> None:
    """The text is on one line, in printable ASCII and truncated, and the record parses as the request."""
    request, client = request_stub(StubResponse(status, text))
    assert (request.status, request.movie_ids, request.result) == (status, (), result)
    assert parse_record(request) == request
    assert client.statuses == {status: 1}


def test_request_late_response_is_a_timeout() -> None:
    """After the time limit the request has status 0 and the text of the streaming service."""
    request, client = request_stub(StubResponse(200, "a+1999", delay_s=0.5), timeout_ms=60)
    port = client.server.rpartition(":")[2]
    assert request.status == 0
    assert request.result == (
        f"java.util.concurrent.TimeoutException: Request timeout to 127.0.0.1/127.0.0.1:{port} after 60 ms"
    )
    assert request.response_ms >= 60
    assert parse_record(request) == request


def test_request_refused_connection_has_status_zero() -> None:
    """Without a server the request has status 0 and says that the connection was refused."""
    (request,), _ = request_all(f"http://127.0.0.1:{free_port()}", "42")
    assert request.status == 0
    assert request.result.startswith("java.net.ConnectException: Connection refused: 127.0.0.1/127.0.0.1:")
    assert parse_record(request) == request


def test_request_time_is_the_time_of_sending() -> None:
    """Each record carries the time at which its request was sent."""
    with RecommenderServer(lambda user_id: StubResponse(200, "a+1999")) as server:
        requests, client = request_all(server.url, "1", "2", "3")
    times = [request.time for request in requests]
    assert times == sorted(times)
    assert client.response_times.summarize().count == 3


def test_request_invalid_user_ids_arrive_unchanged() -> None:
    """Every invalid user id reaches the server unchanged; the statuses are counted separately."""

    async def run(url: str) -> RecommendClient:
        async with RecommendClient(url, 5_000) as client:
            for number in range(len(INVALID_USER_IDS)):
                await client.request_invalid(number)
        return client

    with RecommenderServer(lambda user_id: StubResponse(400, "a user id is digits")) as server:
        client = asyncio.run(run(server.url))
    assert tuple(server.user_ids) == INVALID_USER_IDS
    assert client.invalid_statuses == {400: len(INVALID_USER_IDS)}
    assert not client.statuses


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://127.0.0.1", "http://"])
def test_client_invalid_url_is_refused(url: str) -> None:
    """The error shows the form of a valid URL."""
    with pytest.raises(SettingsError, match="http://host:port"):
        RecommendClient(url, 600)
