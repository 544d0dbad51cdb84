"""Tests of the customer service's client: bulk calls, deadlines and the cache."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler

import pytest
from tests.servers.customers import CustomerServer
from tests.servers.http_thread import HttpThread
from tests.support.clock import FakeClock
from tests.support.waiting import wait_until

from marquee.errors import CustomersUnavailable, RequestFailed
from marquee.local.process import free_port
from marquee.serving.customer_client import Customer, CustomerClient, CustomerLookup


class FakeCustomerClient(CustomerClient):
    """Client that knows the even ids, waits for ``gate`` and fails while ``down``."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)
        self.down = False

    def users(self, user_ids: Sequence[str]) -> dict[str, Customer]:
        self.calls.append(list(user_ids))
        self.began.release()
        self.gate.wait(10)
        if self.down:
            raise CustomersUnavailable("down in this test")
        return {u: Customer(u, age=30) for u in user_ids if int(u) % 2 == 0}


@pytest.fixture
def client() -> FakeCustomerClient:
    return FakeCustomerClient()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def customers(client: FakeCustomerClient, clock: FakeClock) -> CustomerLookup:
    return CustomerLookup(lambda: client, bulk=3, max_cached=4, fresh_s=100, unknown_s=10, clock=clock)


def test_get_same_user_twice_makes_one_call(customers: CustomerLookup, client: FakeCustomerClient) -> None:
    """The second lookup is answered from the cache."""
    assert customers.get("2", 10_000) == customers.get("2", 10_000) == Customer("2", age=30)
    assert client.calls == [["2"]]


def test_get_unknown_user_is_cached_for_a_shorter_time(
    customers: CustomerLookup, client: FakeCustomerClient, clock: FakeClock
) -> None:
    """An unknown user is cached for ``unknown_s`` and looked up again after that."""
    assert customers.get("1", 10_000) is None
    clock.now = 9
    assert customers.cached("1") == (True, None)
    clock.now = 10
    assert customers.get("1", 10_000) is None
    assert client.calls == [["1"], ["1"]]


def test_get_during_a_call_is_batched_into_the_next(customers: CustomerLookup, client: FakeCustomerClient) -> None:
    """Six lookups that wait behind a first one take two calls of three, and each gets its own result."""
    client.gate.clear()
    with ThreadPoolExecutor(7) as pool:
        first = pool.submit(customers.get, "100", 10_000)
        assert client.began.acquire(timeout=10)
        others = [pool.submit(customers.get, str(u), 10_000) for u in range(2, 8)]
        wait_until(lambda: customers.pending == 7, timeout_s=10)
        client.gate.set()
        assert [bool(o.result(10)) for o in others] == [True, False] * 3
        assert first.result(10)
    assert client.calls[0] == ["100"]
    assert sorted(map(len, client.calls[1:])) == [3, 3]


def test_get_after_deadline_raises_and_caches_the_late_result(
    customers: CustomerLookup, client: FakeCustomerClient
) -> None:
    """The waiting thread is released at the deadline; the next lookup gets the result of the same call."""
    client.gate.clear()
    with pytest.raises(CustomersUnavailable, match="within 20 ms"):
        customers.get("2", 20)
    client.gate.set()
    assert customers.get("2", 10_000) == Customer("2", age=30)
    assert client.calls == [["2"]]


def test_get_on_error_raises_and_caches_nothing(customers: CustomerLookup, client: FakeCustomerClient) -> None:
    """An error of the service reaches the caller, and the next lookup calls again."""
    client.down = True
    with pytest.raises(CustomersUnavailable, match="down in this test"):
        customers.get("2", 10_000)
    client.down = False
    assert customers.get("2", 10_000)


def test_cache_over_capacity_drops_the_least_recently_used(customers: CustomerLookup) -> None:
    """Of ten users the last four stay in a cache of four."""
    for user in range(0, 20, 2):
        customers.get(str(user), 10_000)
    assert [customers.cached(str(u))[0] for u in (0, 10, 12, 18)] == [False, False, True, True]


@pytest.fixture
def played() -> Iterator[CustomerServer]:
    """The simulator's own customer service, so that both sides of the protocol meet."""
    with CustomerServer() as played:
        yield played


def test_users_from_the_simulated_service_returns_those_it_knows(played: CustomerServer) -> None:
    """One id, several ids, and ids that are unknown."""
    with closing(CustomerClient(played.url, timeout_s=10)) as client:
        assert client.users(["7"])["7"].age is not None
        assert set(client.users(["7", "51", "8"])) == {"7", "8"}
        assert client.users(["51"]) == {}
        assert set(client.users(["9"])) == {"9"}


def test_users_without_listener_raises_customers_unavailable() -> None:
    """A refused connection is an error that may be retried."""
    with pytest.raises(CustomersUnavailable, match="cannot be reached"):
        CustomerClient(f"http://127.0.0.1:{free_port()}", timeout_s=1).users(["1"])


def test_users_over_the_rate_limit_raises_customers_unavailable() -> None:
    """A 429 is an error that may be retried."""
    with (
        CustomerServer(requests_per_second=0.001) as played,
        closing(CustomerClient(played.url, timeout_s=10)) as client,
    ):
        assert set(client.users(["1"])) == {"1"}
        with pytest.raises(CustomersUnavailable, match="answered 429"):
            client.users(["1"])


def test_users_ids_are_percent_encoded() -> None:
    """An id is opaque: none may end the path or begin a query."""
    paths: list[str] = []

    class _Http:
        def request(self, method: str, path: str, **options: object) -> object:
            paths.append(path)
            raise RequestFailed("no answer in this test")

    client = CustomerClient("http://127.0.0.1:9", timeout_s=1)
    client._http = _Http()  # type: ignore[assignment]
    with pytest.raises(CustomersUnavailable):
        client.users(["u-42", "a b?c#d%e", "7"])
    assert paths == ["/user/u-42,a%20b%3Fc%23d%25e,7"]


def serve_customers(answer: object) -> HttpThread:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    return HttpThread(Handler)


@pytest.mark.parametrize(
    ("malformed", "known"),
    [
        ({"user_id": "1", "age": "old", "gender": None}, Customer("1")),
        ({"user_id": "1", "age": -3, "occupation": ["x"], "gender": "F"}, Customer("1", gender="F")),
        ({"user_id": "1", "age": 1e300}, Customer("1")),
        ({"user_id": "1", "age": 31.0, "self_description_likes": 7}, Customer("1", age=31)),
        ({"user_id": None, "age": 31}, None),
        ("no customer", None),
    ],
)
def test_users_one_malformed_customer_leaves_the_others(malformed: object, known: Customer | None) -> None:
    """A malformed attribute is unknown, and an entry that is no customer costs the others nothing."""
    with (
        serve_customers([{"user_id": "2", "age": 40}, malformed, {"message": "unknown"}]) as served,
        closing(CustomerClient(served.url, timeout_s=10)) as client,
    ):
        found = client.users(["1", "2", "3"])
    assert found == {"2": Customer("2", age=40)} | ({"1": known} if known else {})


@pytest.mark.parametrize("answer", [[7], "text", [{"user_id": []}]])
def test_users_answer_without_any_customer_raises_customers_unavailable(answer: object) -> None:
    """An answer of another kind is a failure, which is tried again, and not a list of unknown users."""
    with (
        serve_customers(answer) as served,
        closing(CustomerClient(served.url, timeout_s=10)) as client,
        pytest.raises(CustomersUnavailable, match="did not return customers"),
    ):
        client.users(["1"])
