"""The customer service's client: bulk calls, a deadline, what is remembered."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from tests.servers.customers import Played

from marquee.errors import CustomersUnavailable
from marquee.local.process import free_port
from marquee.serving.customer_client import Customer, CustomerClient, CustomerLookup
from marquee.simulate.movie_service import MovieService as Simulated


class FakeService(CustomerClient):
    """Knows even ids; waits for ``gate``; fails while ``down``."""

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
            raise CustomersUnavailable("down, as the test wants it")
        return {u: Customer(u, age=30) for u in user_ids if int(u) % 2 == 0}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def customers(service: FakeService, clock: Clock) -> CustomerLookup:
    return CustomerLookup(lambda: service, bulk=3, kept=4, fresh_s=100, unknown_s=10, clock=clock)


def test_a_customer_is_asked_for_once(customers: CustomerLookup, service: FakeService) -> None:
    assert customers.get("2", 10_000) == customers.get("2", 10_000) == Customer("2", age=30)
    assert service.calls == [["2"]]


def test_that_somebody_is_unknown_is_remembered_as_well_and_not_as_long(
    customers: CustomerLookup, service: FakeService, clock: Clock
) -> None:
    assert customers.get("1", 10_000) is None
    clock.now = 9
    assert customers.remembered("1") == (True, None)
    clock.now = 10
    assert customers.get("1", 10_000) is None
    assert service.calls == [["1"], ["1"]]


def test_questions_that_come_during_a_call_travel_together(
    customers: CustomerLookup, service: FakeService
) -> None:
    """Six wait behind the first: two calls of three, and each gets its own answer."""
    service.gate.clear()
    with ThreadPoolExecutor(7) as pool:
        first = pool.submit(customers.get, "100", 10_000)
        assert service.began.acquire(timeout=10)
        others = [pool.submit(customers.get, str(u), 10_000) for u in range(2, 8)]
        while len(customers._asked) < 7:
            pass
        service.gate.set()
        assert [bool(o.result(10)) for o in others] == [True, False] * 3
        assert first.result(10)
    assert service.calls[0] == ["100"]
    assert sorted(map(len, service.calls[1:])) == [3, 3]


def test_the_deadline_holds_and_the_late_answer_is_kept(
    customers: CustomerLookup, service: FakeService
) -> None:
    """Who waits is let go; who asks next has it."""
    service.gate.clear()
    with pytest.raises(CustomersUnavailable, match="within 20 ms"):
        customers.get("2", 20)
    service.gate.set()
    assert customers.get("2", 10_000) == Customer("2", age=30)
    assert service.calls == [["2"]]


def test_a_fault_is_told_to_all_who_wait_and_not_remembered(
    customers: CustomerLookup, service: FakeService
) -> None:
    service.down = True
    with pytest.raises(CustomersUnavailable, match="as the test wants"):
        customers.get("2", 10_000)
    service.down = False
    assert customers.get("2", 10_000)


def test_memory_is_bounded(customers: CustomerLookup) -> None:
    for user in range(0, 20, 2):
        customers.get(str(user), 10_000)
    assert [customers.remembered(str(u))[0] for u in (0, 10, 12, 18)] == [False, False, True, True]


@pytest.fixture
def simulated() -> Iterator[Simulated]:
    """The simulator's own service: both sides of the protocol meet."""
    with Played() as played:
        yield played.service


def test_against_the_service_that_the_simulator_plays(simulated: Simulated) -> None:
    """One, several, unknown ones, over one connection that is kept; and over a new one when it was cut."""
    with closing(CustomerClient(simulated.url, timeout_s=10)) as service:
        assert service.users(["7"])["7"].age is not None
        assert set(service.users(["7", "51", "8"])) == {"7", "8"}
        assert service.users(["51"]) == {}
        service._connection.sock.shutdown(socket.SHUT_RDWR)
        assert set(service.users(["9"])) == {"9"}


def test_nobody_listens() -> None:
    with pytest.raises(CustomersUnavailable, match="cannot be reached"):
        CustomerClient(f"http://127.0.0.1:{free_port()}", timeout_s=1).users(["1"])


def test_refused_by_rate(simulated: Simulated) -> None:
    simulated._per_second, simulated._allowance = 0.001, 0.0
    with (
        closing(CustomerClient(simulated.url, timeout_s=10)) as service,
        pytest.raises(CustomersUnavailable, match="answered 429"),
    ):
        service.users(["1"])
