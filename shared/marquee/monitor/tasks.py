"""What the monitor does at each run, in this order: a task may use what one before it has written."""

from __future__ import annotations

from datetime import datetime

from marquee.artifacts.object_store import ObjectStore
from marquee.costs.estimates import estimate
from marquee.evaluation import accuracy, availability, outcomes
from marquee.evaluation.online import OnlinePredictions
from marquee.evaluation.prediction import Predictor
from marquee.monitor.run import Task
from marquee.quality.task import QualityChecks
from marquee.settings import Settings
from marquee.telemetry.database import Database


def tasks(store: ObjectStore, settings: Settings) -> tuple[Task, ...]:
    """The tasks of one process; what they keep between runs (models) only spares work."""
    predictions = OnlinePredictions(Predictor(store))
    quality = QualityChecks(settings.rating_max)

    def predict(database: Database, _: ObjectStore, now: datetime) -> int:
        return predictions.follow(database, now).ratings

    def seen_by_the_service(database: Database, _: ObjectStore, now: datetime) -> int:
        return availability.update(database, now, settings.caller_timeout_ms)

    return (
        Task("predictions", predict),
        Task("live_accuracy", lambda database, _, now: accuracy.update(database, now)),
        Task("availability", seen_by_the_service),
        Task("quality_checks", quality.run),
        Task("impression_outcomes", lambda database, _, now: outcomes.update(database, now)),
        Task("cost_estimates", lambda database, _, now: estimate(database, now)),
    )
