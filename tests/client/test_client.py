"""Tests of both clients: requests, retries and errors, and a round trip with the running function."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers.function import Function

from marquee.client import (
    ApiRefused,
    ApiUnavailable,
    AsyncMarqueeClient,
    MarqueeClient,
    RetryPolicy,
    make_click,
    make_rating,
    make_shown,
    make_watch,
)
from marquee.client.calls import RecommendParameters, SimilarParameters
from marquee.config.api_keys import create_key
from marquee.serving.request_parameters import RECOMMEND_PARAMETERS, SIMILAR_PARAMETERS, parse_list_request

URL = "http://recommend.test"
NO_PAUSE = RetryPolicy(uniform=lambda _low, _high: 0.0)


class Server:
    """A transport that records requests and gives the responses in turn, the last one again."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self.responses, self.requests = list(responses), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if isinstance(response, Exception):
            raise response
        return response


def call_sync(server: Server, call: Callable[[Any], Any], **options: Any) -> Any:
    with MarqueeClient(URL, transport=httpx.MockTransport(server), **options) as client:
        return call(client)


def call_async(server: Server, call: Callable[[Any], Any], **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncMarqueeClient(URL, transport=httpx.MockTransport(server), **options) as client:
            return await call(client)

    return asyncio.run(run())


EACH_CLIENT = pytest.mark.parametrize("call", [call_sync, call_async])
RECEIPT = {"accepted": 1, "repeated": 0, "refused": []}


@pytest.mark.parametrize("client", [MarqueeClient, AsyncMarqueeClient])
def test_client_url_of_no_function_is_refused_at_once(client: Callable[..., Any]) -> None:
    """Not after four attempts to reach it."""
    for urls in ({"url": "127.0.0.1:8082"}, {"url": URL, "events_url": "events.test"}):
        with pytest.raises(ValueError, match="is not the URL of a function, such as"):
            client(**urls)


@EACH_CLIENT
def test_client_user_id_of_digits_may_be_a_number(call: Callable[..., Any]) -> None:
    """Ids are text for the API; a number is written as such, in events too."""
    server = Server(httpx.Response(200, json={"movies": []}))
    call(server, lambda c: c.recommend(42))
    assert server.requests[-1].url.path == "/recommend/42"
    assert make_rating(42, "fargo+1996", 5)["user_id"] == "42"  # type: ignore[arg-type]


@EACH_CLIENT
def test_client_recommend_encodes_its_parameters(call: Callable[..., Any]) -> None:
    """Ids are escaped, lists are joined by commas, switches are on or off, and what is not given is not sent."""
    server = Server(httpx.Response(200, json={"movies": []}))
    answer = call(
        server, lambda c: c.recommend("a b/c", n=5, genre=["drama", "-horror"], calibrated=False), key="mk_secret"
    )
    assert answer == {"movies": []}
    (request,) = server.requests
    assert request.url.raw_path == b"/recommend/a%20b%2Fc?n=5&genre=drama,-horror&calibrated=off"
    assert (request.headers["Marquee-Key"], request.headers["Accept"]) == ("mk_secret", "application/json")
    call(server, lambda c: c.recommend("7", n=None, exclude=[], genre=()))
    assert server.requests[-1].url.raw_path == b"/recommend/7"


@EACH_CLIENT
def test_client_space_of_a_parameter_is_not_a_plus(call: Callable[..., Any]) -> None:
    """The functions take a plus as itself, so ids with a space, a plus and other characters arrive unchanged."""
    server = Server(httpx.Response(200, json={"movies": []}))
    user, movies = "John & Jürgen 50%", ["up+2009", "the end"]
    call(server, lambda c: c.similar("fargo+1996", user=user, exclude=movies))
    path, _, query = server.requests[-1].url.raw_path.decode().partition("?")
    assert path == "/similar/fargo%2B1996"
    request = parse_list_request(query, SIMILAR_PARAMETERS)
    assert (request.user, list(request.exclude)) == (user, movies)


def test_client_parameters_are_those_of_the_functions() -> None:
    """A parameter of a function is one of the client, too."""
    assert tuple(RecommendParameters.__annotations__) == RECOMMEND_PARAMETERS
    assert tuple(SimilarParameters.__annotations__) == SIMILAR_PARAMETERS


@EACH_CLIENT
@pytest.mark.parametrize(
    "fail",
    [
        lambda: httpx.Response(503),
        lambda: httpx.Response(429, headers={"Retry-After": "0"}),
        lambda: httpx.ConnectError("refused"),
        lambda: httpx.ReadTimeout("slow"),
    ],
)
def test_client_transient_failure_is_retried(call: Callable[..., Any], fail: Callable[[], Any]) -> None:
    """The same events with the same ids are sent again until they are accepted."""
    server = Server(fail(), fail(), httpx.Response(202, json=RECEIPT))
    events = [make_rating("7", "fargo+1996", 5)]
    assert call(server, lambda c: c.send(events), retries=NO_PAUSE) == RECEIPT
    assert len({request.content for request in server.requests}) == 1
    assert len(server.requests) == 3


@EACH_CLIENT
def test_client_gives_up_after_its_attempts(call: Callable[..., Any]) -> None:
    """The error has the number of attempts and the last answer; a long Retry-After ends at once."""
    server = Server(httpx.Response(503, text="busy"))
    with pytest.raises(ApiUnavailable, match="failed 4 times, finally with 503: busy"):
        call(server, lambda c: c.recommend("7"), retries=NO_PAUSE)
    server = Server(httpx.Response(429, headers={"Retry-After": "60"}))
    with pytest.raises(ApiUnavailable, match="failed 1 times"):
        call(server, lambda c: c.recommend("7"), retries=NO_PAUSE)


@EACH_CLIENT
def test_client_refusal_is_not_retried(call: Callable[..., Any]) -> None:
    """A 400 raises with the status and the sentence of the server."""
    server = Server(httpx.Response(400, text="n is '0': it must be a whole number\n"))
    with pytest.raises(ApiRefused, match="n is '0'") as refused:
        call(server, lambda c: c.recommend("7", n=0))
    assert (refused.value.status, len(server.requests)) == (400, 1)


@EACH_CLIENT
def test_client_many_events_are_sent_in_parts(call: Callable[..., Any]) -> None:
    """Totals add up, and the index of a refused event counts all events."""
    refused = {"index": 2, "id": "x", "category": "rating", "reason": "no"}
    server = Server(
        httpx.Response(202, json={"accepted": 1_000, "repeated": 0, "refused": []}),
        httpx.Response(202, json={"accepted": 4, "repeated": 1, "refused": [refused]}),
    )
    receipt = call(server, lambda c: c.send([make_watch("7", "up+2009", n) for n in range(1_006)]))
    assert [len(json.loads(request.content)) for request in server.requests] == [1_000, 6]
    assert receipt == {"accepted": 1_004, "repeated": 1, "refused": [{**refused, "index": 1_002}]}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_client_proxy_of_the_environment_is_not_for_loopback(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """The local system is asked directly; other hosts are asked by the proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with MarqueeClient(f"http://{host}:1", retries=RetryPolicy(attempts=1)) as client:
        local = client._http._transport_for_url(httpx.URL(f"http://{host}:1/"))
        assert local is client._http._transport
        assert client._http._transport_for_url(httpx.URL("http://example.com/")) is not local


def test_retry_policy_pause_grows_and_is_random() -> None:
    """Full jitter up to a doubling bound, never below Retry-After."""
    policy = RetryPolicy(uniform=lambda low, high: high)
    assert [policy.pause_s(attempt, None) for attempt in range(4)] == [0.1, 0.2, 0.4, None]
    assert policy.pause_s(0, httpx.Response(503, headers={"Retry-After": "2"})) == 2.0
    assert policy.pause_s(0, httpx.Response(503, headers={"Retry-After": "Mon, 30 Nov 2026"})) == 0.1


def test_clients_have_the_same_methods() -> None:
    """The asynchronous client has every call of the synchronous one, with the same parameters."""
    for name in ("recommend", "similar", "send"):
        sync, other = (inspect.signature(getattr(kind, name)) for kind in (MarqueeClient, AsyncMarqueeClient))
        assert sync == other, name


def test_make_event_naive_time_is_refused() -> None:
    """A time without a zone could mean any moment."""
    with pytest.raises(ValueError, match="no time zone"):
        make_rating("7", "up+2009", 5, time=datetime(2026, 1, 1))


@pytest.mark.servers
def test_client_events_are_accepted_by_the_function(database_url: str, tmp_path: Path) -> None:
    """Each event that the client can make is valid, and a repetition is recognized."""
    key, entry = create_key("app", ["write"])
    env = {"MARQUEE_DATABASE_URL": database_url, "MARQUEE_API_KEYS": str(entry)}
    events = [
        make_rating("7", "fargo+1996", 5),
        make_watch("7", "fargo+1996", 0),
        make_shown("7", "r1", ["fargo+1996"]),
        make_click("7", "r1", "fargo+1996"),
    ]
    with Function("events", tmp_path, env) as function:
        url = f"http://127.0.0.1:{function.port}"
        with MarqueeClient("http://unused.test", events_url=url, key=key) as client:
            assert client.send(events) == {"accepted": 4, "repeated": 0, "refused": []}
            assert client.send(events)["repeated"] == 4
        with MarqueeClient("http://unused.test", events_url=url) as stranger, pytest.raises(ApiRefused, match="401"):
            stranger.send(events)
