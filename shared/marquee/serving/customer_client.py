"""What the customer service knows of those whom we know little of: ``GET /user/<id>[,<id>...]``.

An answer must not wait long for it, and the service is rate-limited. So questions that come while a call is
under way travel together in the next one; what came is remembered, that somebody is unknown to it as
well; and an answer that comes too late is there for the next request.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from marquee.errors import CustomersUnavailable

BULK = 200
"""The most ids in one call, by the service's protocol."""


class Customer(msgspec.Struct, frozen=True):
    """What is known of one; text that is not known is empty or None."""

    user_id: int | str
    age: int | None = None
    occupation: str = ""
    gender: str = ""
    self_description_likes: str | None = None
    self_description_dislikes: str | None = None


class CustomerClient:
    """The service at ``url``. One connection, kept; to be used by one thread."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        self._path = parts.path.rstrip("/")
        self._url = url

    def users(self, user_ids: Sequence[str]) -> dict[str, Customer]:
        """Those of ``user_ids``, at most :data:`BULK`, whom the service knows; in one call.

        Raises :class:`CustomersUnavailable`.
        """
        status, body = self._get(f"{self._path}/user/{','.join(user_ids)}")
        if status not in (200, 404):
            raise CustomersUnavailable(f"{self._url} answered {status}")
        try:
            found = msgspec.json.decode(body)
            rows = found if isinstance(found, list) else [found]  # One id, one object.
            known = [msgspec.convert(row, Customer) for row in rows if "user_id" in row]
        except (msgspec.MsgspecError, TypeError) as error:
            raise CustomersUnavailable(f"{self._url} answered what is no customer: {error}") from error
        return {str(customer.user_id): customer for customer in known}

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _get(self, path: str) -> tuple[int, bytes]:
        for again in (True, False):  # A connection that was kept may have been closed meanwhile.
            try:
                self._connection.request("GET", path, headers={"Accept": "application/json"})
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, ConnectionError) as error:
                self._connection.close()
                if not again:
                    raise CustomersUnavailable(f"{self._url} cannot be reached: {error}") from error
            except OSError as error:
                self._connection.close()
                raise CustomersUnavailable(f"{self._url} cannot be reached: {error}") from error
        raise AssertionError("unreachable")


class _Question:
    """One user who is asked for; those who ask for the same one wait together."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.customer: Customer | None = None
        self.error: CustomersUnavailable | None = None


class CustomerLookup:
    """Customers by id, from a cache or the service. Safe to share between threads.

    ``connect`` is called in the asking thread, which begins with the first question. ``kept`` customers are
    remembered, each for ``fresh_s``; that the service does not know somebody for ``unknown_s``.
    """

    def __init__(
        self,
        connect: Callable[[], CustomerClient],
        *,
        bulk: int = BULK,
        kept: int = 10_000,
        fresh_s: float = 3_600.0,
        unknown_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._bulk, self._kept = bulk, kept
        self._fresh_s, self._unknown_s = fresh_s, unknown_s
        self._clock = clock
        self._known: OrderedDict[str, tuple[Customer | None, float]] = OrderedDict()
        self._asked: dict[str, _Question] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def remembered(self, user_id: str) -> tuple[bool, Customer | None]:
        """Whether the answer for the user is known and not too old, and the answer: None is nobody."""
        with self._changed:
            customer, until = self._known.get(user_id, (None, float("-inf")))
            if self._clock() >= until:
                return False, None
            self._known.move_to_end(user_id)
            return True, customer

    def get(self, user_id: str, deadline_ms: int) -> Customer | None:
        """The customer, or None if the service does not know him.

        Raises :class:`CustomersUnavailable`, at the latest when the deadline comes; the question goes on.
        """
        known, customer = self.remembered(user_id)
        if known:
            return customer
        question = self._ask(user_id)
        if not question.done.wait(deadline_ms / 1000):
            raise CustomersUnavailable(f"no customer within {deadline_ms} ms")
        if question.error is not None:
            raise question.error
        return question.customer

    def _ask(self, user_id: str) -> _Question:
        with self._changed:
            if user_id not in self._asked:
                self._asked[user_id] = _Question()
                self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="customers", daemon=True)
                self._thread.start()
            return self._asked[user_id]

    def _run(self) -> None:
        service: CustomerClient | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._asked))
                batch = dict(list(self._asked.items())[: self._bulk])
            error: CustomersUnavailable | None = None
            found: dict[str, Customer] = {}
            try:
                service = service or self._connect()
                found = service.users(list(batch))
            except CustomersUnavailable as raised:
                error = raised
            except Exception as raised:  # The thread must outlive whatever it is.
                error = CustomersUnavailable(f"{type(raised).__name__}: {raised}")
            self._answer(batch, found, error)

    def _answer(
        self, batch: dict[str, _Question], found: dict[str, Customer], error: CustomersUnavailable | None
    ) -> None:
        with self._changed:
            for user_id, question in batch.items():
                if error is None:
                    question.customer = customer = found.get(user_id)
                    lasts_s = self._fresh_s if customer else self._unknown_s
                    self._known[user_id] = customer, self._clock() + lasts_s
                question.error = error
                del self._asked[user_id]
                question.done.set()
            while len(self._known) > self._kept:
                self._known.popitem(last=False)
