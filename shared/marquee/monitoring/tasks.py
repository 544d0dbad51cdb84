"""Tasks of the monitor in the order of a run. A task may use tables that an earlier one has written."""

from __future__ import annotations

from collections.abc import Callable

from marquee.config.settings import Settings
from marquee.db import rollups
from marquee.db.privacy_marks import MarkReader
from marquee.events.log_scale import LogScale
from marquee.monitoring import attribution, availability, live_accuracy, movie_counts
from marquee.monitoring.controller import Controller
from marquee.monitoring.live_fairness import LiveFairness
from marquee.monitoring.live_predictions import LivePredictions
from marquee.monitoring.quality_task import QualityChecks
from marquee.monitoring.run import Task
from marquee.monitoring.served_prediction import Predictor
from marquee.monitoring.suspect_accounts import SuspectAccounts
from marquee.monitoring.user_demographics import UserDemographics
from marquee.registry.object_store.object_store import ObjectStore
from marquee.serving.customer_client import CustomerClient

CUSTOMERS_TIMEOUT_S = 5.0

REPORT_MS = 60_000
"""Deadline of a report in MongoDB."""


def create_tasks(
    store: ObjectStore, settings: Settings, open_writer: Callable[[], ObjectStore] | None = None
) -> tuple[Task, ...]:
    """Return the tasks of one process. They cache models between runs.

    ``open_writer`` returns a store that can publish releases, if ``store`` cannot.
    """
    predictor, timeout_ms = Predictor(store), settings.caller_timeout_ms
    scale = LogScale.named(settings.rating_scale)
    predictions = LivePredictions(predictor)
    controller = Controller(
        predictor,
        open_writer or (lambda: store),
        scale=scale,
        caller_timeout_ms=timeout_ms,
    )
    quality = QualityChecks(scale)
    suspects = SuspectAccounts(scale)
    fairness = LiveFairness(predictor.load_engine, _open_demographics(settings), scale)

    return (
        Task("predictions", lambda database, _, now: predictions.follow(database, now).ratings),
        Task("live_accuracy", lambda database, _, now: live_accuracy.update_accuracy(database, now)),
        Task("fairness", lambda database, _, now: fairness.update(database, now)),
        Task("rollups", lambda database, _store, _now: rollups.roll_up(database)),
        Task("availability", lambda database, _, now: availability.update_availability(database, now, timeout_ms)),
        Task("popular_movies", lambda database, _store, _now: movie_counts.update_popularity(database)),
        Task("quality_checks", quality.run),
        Task("suspect_accounts", suspects.run),
        Task("experiments", controller.run),
        Task("impression_outcomes", lambda database, _, now: attribution.update_attribution(database, now)),
        *_app_tasks(settings),
    )


def _app_tasks(settings: Settings) -> tuple[Task, ...]:
    """Return the tasks of the app, where there is one; only they import pymongo."""
    if not settings.documents_url:
        return ()
    from marquee.app.documents import Documents
    from marquee.monitoring.app_catalog import update_catalog
    from marquee.monitoring.app_usage import update_usage

    documents = Documents(settings.documents_url, deadline_ms=REPORT_MS, connections=1)
    reader = MarkReader(settings.privacy_key)
    return (
        Task("app_usage", lambda database, _, now: update_usage(database, documents, now, reader)),
        Task("app_catalog", lambda database, store, now: update_catalog(database, store, documents, now)),
    )


def _open_demographics(settings: Settings) -> UserDemographics | None:
    """Return the demographics of users, None without a customer service."""
    url = settings.customers_url
    return UserDemographics(lambda: CustomerClient(url, timeout_s=CUSTOMERS_TIMEOUT_S)) if url else None
