"""The service put together from the settings."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  # Before us at the exit: see _before_the_threads_end.
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from marquee.config.settings import Settings
from marquee.registry.object_store.connect import connect
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.engine import Cohorts
from marquee.serving.exploration import Exploration
from marquee.serving.http_api import RecommendHttp
from marquee.serving.instrumentation import InstrumentedApp
from marquee.serving.recommender import LIST_LENGTH, CohortsOf, HistoryOf, Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.request_log import RequestLog

if TYPE_CHECKING:
    from marquee.bridge.delivery.delivery import Delivery
    from marquee.db.user_history import History
    from marquee.serving.impressions import ImpressionSender
    from marquee.serving.popular_movies import PopularMovies

_IMPRESSION_TIMEOUT_S = 3.0
"""One delivery of impressions; a process that ends waits for it, and should not be killed for that."""

_FLUSH_S = 3.0

_STORE_TIMEOUT_S = 5.0
"""How long one call keeps trying. There is another look soon, and threads that wait help nobody."""


def create_service(settings: Settings) -> InstrumentedApp:
    """Everything behind ``recommend``. Connects to nothing: each part does so when it is first needed.

    Only the object store is required; without a database answers come from the artifact alone, and
    without a delivery nobody is told what was served.
    """
    settings.require("objects_url")
    budget_ms = settings.caller_timeout_ms
    store = connect(settings.objects_url, timeout_s=_STORE_TIMEOUT_S, read_only=True)
    history, popular = _from_database(settings)
    cache = ReleaseCache(store, settings.release_refresh_s)
    recommender = Recommender(
        cache,
        objects=DeadlineExecutor(
            "object store", deadline_ms=budget_ms // 4, first_deadline_ms=budget_ms // 3, threads=4
        ),
        history=history,
        popular=popular,
        cohorts=_cohorts(settings),
        policy=_policy(settings),
        wait_s=budget_ms / 2000,
    )
    sender = _impressions(settings)
    logged = settings.log_level in ("DEBUG", "INFO")
    return InstrumentedApp(
        RecommendHttp(recommender, sender),
        RequestLog(settings.trace_project) if logged else None,
        gauges=lambda: _gauges(cache, sender),
        counters=lambda: _counters(sender),
    )


def _gauges(cache: ReleaseCache, sender: ImpressionSender | None) -> dict[str, float]:
    serving = cache.serving()
    return {
        "release": serving.release.number if serving else 0,
        "release_refused": cache.release_refused,
        "object_store_up": not cache.store_away,
        "impressions_queued": sender.queued if sender else 0,
    }


def _counters(sender: ImpressionSender | None) -> dict[str, float]:
    if sender is None:
        return {}
    return {
        "impressions_sent_total": sender.sent,
        "impressions_dropped_total": sender.dropped,
        "impressions_refused_total": sender.refused,
    }


def _cohorts(settings: Settings) -> CohortsOf | None:
    if not settings.customers_url:
        return None
    from marquee.serving.customer_client import CustomerClient, CustomerLookup
    from marquee.serving.stated_interests import cohorts_of

    timeout_s = settings.caller_timeout_ms / 1000
    customers = CustomerLookup(lambda: CustomerClient(settings.customers_url, timeout_s=timeout_s))
    asked = DeadlineExecutor("customer service", deadline_ms=settings.customers_deadline_ms)

    def of(user_id: str) -> Cohorts:
        known, customer = customers.cached(user_id)  # Also while the service is given a rest.
        if not known:
            customer = asked.ask(lambda ms: customers.get(user_id, ms))
        return cohorts_of(customer) if customer else ()

    return of


def _policy(settings: Settings) -> Exploration:
    tail = min(settings.explore_slots, LIST_LENGTH)
    return Exploration(settings.explore_epsilon, tail, max(settings.explore_candidates, tail) if tail else 0)


def _from_database(settings: Settings) -> tuple[HistoryOf | None, PopularMovies | None]:
    if not settings.database_url:
        return None, None
    from marquee.db.pool import Database
    from marquee.db.user_history import popular_movies, user_history
    from marquee.serving.popular_movies import PopularMovies

    database = Database(settings.database_url, connect_timeout_s=2.0)
    first_ms = settings.caller_timeout_ms // 4
    asked = DeadlineExecutor("database", deadline_ms=settings.history_deadline_ms, first_deadline_ms=first_ms)
    asked_for_popular = DeadlineExecutor("popular movies", deadline_ms=first_ms)

    def history_of(user_id: str, since: datetime | None) -> History:
        return asked.ask(lambda ms: user_history(database, user_id, since, ms))

    def read_popular(limit: int) -> list[tuple[str, float]]:
        return asked_for_popular.ask(lambda ms: popular_movies(database, limit, ms))

    return history_of, PopularMovies(read_popular, refresh_s=max(settings.release_refresh_s, 1.0))


def _impressions(settings: Settings) -> ImpressionSender | None:
    if not settings.delivery_url:
        return None
    from marquee.serving.impressions import ImpressionSender

    def connect() -> Delivery:

        from marquee.bridge.delivery.delivery_factory import connect_delivery

        return connect_delivery(settings.delivery_url, timeout_s=_IMPRESSION_TIMEOUT_S, concurrency=1)

    sender = ImpressionSender(connect)
    _before_the_threads_end(lambda: sender.close(_FLUSH_S))
    return sender


def _before_the_threads_end(last_work: Callable[[], object]) -> None:
    """Run ``last_work`` when the process ends, while thread pools still take work.

    ``atexit`` comes after they were shut down. Python has an earlier hook, the one that they use
    themselves, without a public name; hooks run in the reverse order of their registration.
    """
    register: Callable[[Callable[[], object]], object]
    register = getattr(threading, "_register_atexit", atexit.register)
    register(last_work)


class LazyService:
    """The service, assembled by the first request: after the fork, so in the process that answers."""

    def __init__(self, make: Callable[[], InstrumentedApp]) -> None:
        self._make = make
        self._making = threading.Lock()
        self._made: InstrumentedApp | None = None

    def __call__(self) -> InstrumentedApp:
        if self._made is None:
            with self._making:
                self._made = self._made or self._make()
        return self._made
