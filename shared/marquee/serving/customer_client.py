"""Client and cache of the customer service: ``GET /user/<id>[,<id>...]``.

The service is rate-limited, and a recommendation must not wait long for it. Lookups that arrive during a call are
sent together in the next call. Results are cached, unknown users included. A result that arrives after the deadline
is cached for the user's next request.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from marquee.config.http_client import HttpClient
from marquee.config.masking import mask_password
from marquee.config.plausible_values import AGES, is_within
from marquee.errors import CustomersUnavailable, RequestFailed
from marquee.registry.json_document import MalformedDocument, decode_json

BULK = 200
"""Maximum number of ids in one call, by the service's protocol."""


class Customer(msgspec.Struct, frozen=True):
    """Demographics and stated interests of one user; unknown values are empty or None."""

    user_id: int | str
    age: int | None = None
    occupation: str = ""
    gender: str = ""
    self_description_likes: str | None = None
    self_description_dislikes: str | None = None


class _Attributes(msgspec.Struct):
    """A customer as the service describes it; each attribute may be malformed."""

    user_id: int | str
    age: Any = None
    occupation: Any = ""
    gender: Any = ""
    self_description_likes: Any = None
    self_description_dislikes: Any = None


def _read_customer(entry: Any) -> Customer | None:
    """Return the customer without malformed attributes, None if ``entry`` is no customer at all."""
    try:
        raw = msgspec.convert(entry, _Attributes)
    except msgspec.ValidationError:
        return None
    age = raw.age if isinstance(raw.age, int | float) and is_within(raw.age, AGES) else None
    texts = (raw.occupation, raw.gender, raw.self_description_likes, raw.self_description_dislikes)
    occupation, gender, likes, dislikes = (text if isinstance(text, str) else None for text in texts)
    return Customer(raw.user_id, None if age is None else int(age), occupation or "", gender or "", likes, dislikes)


class CustomerClient:
    """Client of the customer service at ``url``."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._http = HttpClient(url, timeout_s=timeout_s)
        self._url = url

    def users(self, user_ids: Sequence[str]) -> dict[str, Customer]:
        """Look up at most :data:`BULK` users in one call; the result lacks users that the service does not know.

        Raises :class:`CustomersUnavailable` if the call fails.
        """
        try:
            response = self._http.request(
                "GET",
                f"/user/{','.join(quote(user_id, safe='') for user_id in user_ids)}",
                headers={"Accept": "application/json"},
            )
        except RequestFailed as error:
            raise CustomersUnavailable(f"{mask_password(self._url)} cannot be reached: {error}") from error
        if response.status not in (200, 404):
            raise CustomersUnavailable(f"{mask_password(self._url)} answered {response.status}")
        try:
            document = decode_json(response.body, Any)
            # The service returns an object for one id, and a list for several.
            entries = document if isinstance(document, list) else [document]
            customers = [
                _read_customer(entry) for entry in entries if not isinstance(entry, dict) or "user_id" in entry
            ]
        except MalformedDocument as error:
            raise CustomersUnavailable(f"{mask_password(self._url)} did not return customers: {error}") from error
        known = {str(customer.user_id): customer for customer in customers if customer is not None}
        if customers and not known:
            raise CustomersUnavailable(f"{mask_password(self._url)} did not return customers, but {entries[0]!a:.80}")
        return known

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class _PendingLookup:
    """Lookup of one user, shared by all threads that wait for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.customer: Customer | None = None
        self.error: CustomersUnavailable | None = None


class CustomerLookup:
    """Cached customers by user id. Safe to share between threads.

    A background thread makes the calls. The first lookup starts it, and it creates the client with ``connect``.
    The cache holds ``max_cached`` users: known ones for ``fresh_s`` seconds, unknown ones for ``unknown_s``.
    """

    def __init__(
        self,
        connect: Callable[[], CustomerClient],
        *,
        bulk: int = BULK,
        max_cached: int = 10_000,
        fresh_s: float = 3_600.0,
        unknown_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._bulk, self._max_cached = bulk, max_cached
        self._fresh_s, self._unknown_s = fresh_s, unknown_s
        self._clock = clock
        self._cache: OrderedDict[str, tuple[Customer | None, float]] = OrderedDict()
        self._pending: dict[str, _PendingLookup] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def pending(self) -> int:
        """Number of users whose lookup is waiting or under way."""
        return len(self._pending)

    def cached(self, user_id: str) -> tuple[bool, Customer | None]:
        """Return whether the cache has a fresh entry for the user, and the entry: None for an unknown user."""
        with self._changed:
            customer, expires = self._cache.get(user_id, (None, float("-inf")))
            if self._clock() >= expires:
                return False, None
            self._cache.move_to_end(user_id)
            return True, customer

    def get(self, user_id: str, deadline_ms: int) -> Customer | None:
        """Return the customer, or None if the service does not know the user.

        The lookup continues after the deadline. Raises :class:`CustomersUnavailable` on failure or at the deadline.
        """
        is_cached, customer = self.cached(user_id)
        if is_cached:
            return customer
        lookup = self._enqueue(user_id)
        if not lookup.done.wait(deadline_ms / 1000):
            raise CustomersUnavailable(f"no customer within {deadline_ms} ms")
        if lookup.error is not None:
            raise lookup.error
        return lookup.customer

    def _enqueue(self, user_id: str) -> _PendingLookup:
        with self._changed:
            if user_id not in self._pending:
                self._pending[user_id] = _PendingLookup()
                self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="customers", daemon=True)
                self._thread.start()
            return self._pending[user_id]

    def _run(self) -> None:
        client: CustomerClient | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._pending))
                batch = dict(list(self._pending.items())[: self._bulk])
            error: CustomersUnavailable | None = None
            customers: dict[str, Customer] = {}
            try:
                client = client or self._connect()
                customers = client.users(list(batch))
            except CustomersUnavailable as raised:
                error = raised
            except Exception as raised:  # The thread must survive any error.
                error = CustomersUnavailable(f"{type(raised).__name__}: {raised}")
            self._resolve(batch, customers, error)

    def _resolve(
        self,
        batch: dict[str, _PendingLookup],
        customers: dict[str, Customer],
        error: CustomersUnavailable | None,
    ) -> None:
        with self._changed:
            for user_id, lookup in batch.items():
                if error is None:
                    lookup.customer = customer = customers.get(user_id)
                    ttl_s = self._fresh_s if customer else self._unknown_s
                    self._cache[user_id] = customer, self._clock() + ttl_s
                lookup.error = error
                del self._pending[user_id]
                lookup.done.set()
            while len(self._cache) > self._max_cached:
                self._cache.popitem(last=False)
