"""Factory of the recommendation service, from the settings."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  # Registers its exit hook first: see _run_before_thread_pools_end.
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from marquee.config.access import create_access
from marquee.config.settings import Settings
from marquee.errors import PrivacyKeyWrong
from marquee.registry.object_store.connect import connect
from marquee.serving.caller_check import CallerCheck
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.exploration import DEFAULT_EXPLORATION
from marquee.serving.http_api import RecommendHttp
from marquee.serving.instrumentation import InstrumentedApp
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.request_log import RequestLog
from marquee.serving.scored_movie import Cohorts
from marquee.serving.user_readers import AgeReader, CohortReader, HistoryReader

if TYPE_CHECKING:
    from marquee.bridge.delivery.delivery import Delivery
    from marquee.db.user_history import History
    from marquee.serving.impressions import ImpressionSender
    from marquee.serving.popular_movies import PopularMovies
    from marquee.serving.restricted_users import RestrictedUsers

_IMPRESSION_TIMEOUT_S = 3.0
"""Limit of one request with impressions. It is short, because a process that ends waits for it."""

_FLUSH_S = 3.0

_READERS = 4
"""Connections for reading histories. Half the threads of a process: the others score or write meanwhile."""

_STORE_TIMEOUT_S = 5.0
"""Limit of the retries of one store call. It is short, because the next refresh tries again."""


def create_service(settings: Settings) -> InstrumentedApp:
    """Return the service behind the ``recommend`` function. Its parts connect when they are first used.

    Only the object store is required. Without a database, recommendations come from the artifact alone; without a
    delivery URL, impressions are not logged.
    """
    settings.require("objects_url")
    budget_ms = settings.caller_timeout_ms
    store = connect(settings.objects_url, timeout_s=_STORE_TIMEOUT_S, read_only=True)
    history, popular = _create_database_readers(settings)
    cohorts, ages = _create_account_readers(settings)
    cache = ReleaseCache(store, settings.release_refresh_s)
    recommender = Recommender(
        cache,
        objects=DeadlineExecutor(
            "object store", deadline_ms=budget_ms // 4, first_deadline_ms=budget_ms // 3, threads=4
        ),
        history=history,
        popular=popular,
        cohorts=cohorts,
        ages=ages,
        restricted=_create_restriction(settings),
        logs_reasons=bool(settings.delivery_url),
        exploration=DEFAULT_EXPLORATION,
        wait_s=budget_ms / 2000,
    )
    sender = _create_impression_sender(settings)
    logs_requests = settings.log_level in ("DEBUG", "INFO")
    http, anonymous = RecommendHttp(recommender, sender), RecommendHttp(recommender)
    return InstrumentedApp(
        http,
        RequestLog(_find_project(settings.delivery_url)) if logs_requests else None,
        gauges=lambda: _read_gauges(cache, sender),
        counters=lambda: _read_counters(sender),
        max_wait_ms=budget_ms * 2 // 3,
        callers=CallerCheck(create_access(settings), http, anonymous),
    )


def _find_project(delivery_url: str) -> str:
    """Return the Google Cloud project of the deployment, which its Pub/Sub topic names; empty elsewhere."""
    scheme, _, rest = delivery_url.partition("://")
    return rest.partition("/")[0] if scheme == "pubsub" else ""


def _read_gauges(cache: ReleaseCache, sender: ImpressionSender | None) -> dict[str, float]:
    loaded = cache.get()
    return {
        "release": loaded.release.number if loaded else 0,
        "release_refused": cache.release_refused,
        "object_store_up": not cache.store_error,
        "impressions_queued": sender.queued if sender else 0,
    }


def _read_counters(sender: ImpressionSender | None) -> dict[str, float]:
    if sender is None:
        return {}
    return {
        "impressions_sent_total": sender.sent,
        "impressions_dropped_total": sender.dropped,
        "impressions_refused_total": sender.refused,
    }


def _create_account_readers(settings: Settings) -> tuple[CohortReader | None, AgeReader | None]:
    """Return the readers of a user's cohorts and age, which share a cache; None without a customer service."""
    if not settings.customers_url:
        return None, None
    from marquee.serving.customer_client import Customer, CustomerClient, CustomerLookup
    from marquee.serving.stated_interests import find_cohorts

    timeout_s = settings.caller_timeout_ms / 1000
    customers = CustomerLookup(lambda: CustomerClient(settings.customers_url, timeout_s=timeout_s))
    executor = DeadlineExecutor("customer service", deadline_ms=settings.lookup_deadline_ms)

    def read(user_id: str) -> Customer | None:
        is_cached, customer = customers.cached(user_id)  # The cache also serves while the breaker is open.
        return customer if is_cached else executor.run(lambda ms: customers.get(user_id, ms))

    def read_cohorts(user_id: str) -> Cohorts:
        customer = read(user_id)
        return find_cohorts(customer) if customer else ()

    def read_age(user_id: str) -> int | None:
        customer = read(user_id)
        return customer.age if customer else None

    return read_cohorts, read_age


def _create_database_readers(settings: Settings) -> tuple[HistoryReader | None, PopularMovies | None]:
    if not settings.database_url:
        return None, None
    from marquee.db.pool import Database
    from marquee.db.user_history import popular_movies, user_history
    from marquee.serving.popular_movies import PopularMovies

    database = Database(settings.database_url, connections=0, readers=_READERS, connect_timeout_s=2.0)
    first_ms = settings.caller_timeout_ms // 4
    history_executor = DeadlineExecutor("database", deadline_ms=settings.lookup_deadline_ms, first_deadline_ms=first_ms)
    popular_executor = DeadlineExecutor("popular movies", deadline_ms=first_ms)

    def read_history(user_id: str, since: datetime | None) -> History:
        return history_executor.run(lambda ms: user_history(database, user_id, since, ms))

    def query_popular(limit: int) -> list[tuple[str, float]]:
        return popular_executor.run(lambda ms: popular_movies(database, limit, ms))

    return read_history, PopularMovies(query_popular, refresh_s=max(settings.release_refresh_s, 1.0))


def _create_restriction(settings: Settings) -> RestrictedUsers | None:
    """Return the check of marked users; None without a database.

    The marks are read even without a key, because a user may have been marked with one.
    """
    if not settings.database_url:
        return None
    from marquee.db.pool import Database
    from marquee.db.privacy_marks import MarkReader, MarkSet
    from marquee.serving.restricted_users import RestrictedUsers

    database = Database(settings.database_url, connections=0, connect_timeout_s=2.0)
    executor = DeadlineExecutor("marked users", deadline_ms=settings.caller_timeout_ms // 4, threads=1)
    reader = MarkReader(settings.privacy_key)

    def read(deadline_ms: int) -> MarkSet | PrivacyKeyWrong:
        try:
            return reader.read(database, deadline_ms)
        except PrivacyKeyWrong as error:  # The database is well.
            return error

    def read_or_raise() -> MarkSet:
        found = executor.run(read)
        if isinstance(found, PrivacyKeyWrong):
            raise found
        return found

    return RestrictedUsers(read_or_raise)


def _create_impression_sender(settings: Settings) -> ImpressionSender | None:
    if not settings.delivery_url:
        return None
    from marquee.serving.impressions import ImpressionSender

    def connect() -> Delivery:
        from marquee.bridge.delivery.delivery_factory import connect_delivery

        return connect_delivery(
            settings.delivery_url,
            timeout_s=_IMPRESSION_TIMEOUT_S,
            concurrency=1,
            secret=settings.delivery_secret,
        )

    sender = ImpressionSender(connect)
    _run_before_thread_pools_end(lambda: sender.close(_FLUSH_S))
    return sender


def _run_before_thread_pools_end(function: Callable[[], object]) -> None:
    """Run ``function`` when the process ends, while thread pools still accept work.

    ``atexit`` hooks run after the thread pools have shut down. Thread pools use an earlier hook of Python that has no
    public name. Its callbacks run in reverse order of registration.
    """
    register: Callable[[Callable[[], object]], object]
    register = getattr(threading, "_register_atexit", atexit.register)
    register(function)


class LazyService:
    """Service created by the first request, and so in the worker process, after the fork."""

    def __init__(self, create: Callable[[], InstrumentedApp]) -> None:
        self._create = create
        self._lock = threading.Lock()
        self._service: InstrumentedApp | None = None

    def __call__(self) -> InstrumentedApp:
        """Return the service."""
        if self._service is None:
            with self._lock:
                self._service = self._service or self._create()
        return self._service
