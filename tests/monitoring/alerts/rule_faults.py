"""For each alert rule, rows for an empty database from which its query returns a given value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from marquee.db.pool import Database

TABLES = (
    "deliveries_per_minute, availability, quarantine, live_accuracy, live_fairness, impression_outcomes, "
    "quality_checks, monitor_runs, experiment_decisions, impressions"
)
TOPIC = "movielog1"
OLD_VERSION, NEW_VERSION = "20260213T020000Z-aaaaaaaa", "20260214T020000Z-bbbbbbbb"


class Fault(NamedTuple):
    """Rows of a fault, which ``insert(cursor, now, value)`` writes, with a ``good`` and a ``bad`` value."""

    insert: Callable[[Any, datetime, float], None]
    good: float
    bad: float
    labels: dict[str, str]


def clear_tables(database: Database) -> None:
    """Remove all rows that the rules read."""
    with database.transaction() as cursor:
        cursor.execute(f"TRUNCATE {TABLES}")


def insert_delivery(cursor: Any, time: datetime, records: int, lag_ms: float = 400, topic: str = TOPIC) -> None:
    """Insert one minute of deliveries."""
    cursor.execute("INSERT INTO topics (topic, topic_id) VALUES (%s, %s) ON CONFLICT DO NOTHING", (topic, topic))
    cursor.execute(
        "INSERT INTO deliveries_per_minute SELECT %s, topic_key, 0, 10, %s, 0, 100, %s FROM topics WHERE topic_id = %s",
        (time, records, round(lag_ms), topic),
    )


def insert_requests(
    cursor: Any, now: datetime, requests: int, answered: int, p99_ms: float = 30, minutes: int = 5
) -> None:
    """Insert the minutes before ``now``, each with ``requests`` requests; those not answered failed."""
    cursor.execute(
        "INSERT INTO availability SELECT %s - m * INTERVAL '1 minute', 's', %s, %s, 0, %s, 9, 15, %s "
        "FROM generate_series(1, %s) AS m",
        (now, requests, answered, requests - answered, p99_ms, minutes),
    )


def insert_accuracy(
    cursor: Any,
    time: datetime,
    window_s: int,
    arm: str,
    version: str,
    low: float,
    high: float,
    ratings: int = 900,
) -> None:
    """Insert one window whose RMSE has the interval from ``low`` to ``high``."""
    rmse = (low + high) / 2
    cursor.execute(
        "INSERT INTO live_accuracy VALUES (%s, %s, %s, %s, %s, 90, %s, %s, %s, .7, .6, .8, .8, .8)",
        (time, window_s, arm, version, ratings, rmse, low, high),
    )


def insert_check(cursor: Any, time: datetime, name: str, value: float | None) -> None:
    """Insert the result of a data quality check."""
    cursor.execute("INSERT INTO quality_checks VALUES (%s, %s, %s, 0, 1, '', 'good', '')", (time, name, value))


def insert_watches(cursor: Any, now: datetime, arm: str, version: str, shown: int, watched: int) -> None:
    """Insert an hour of impressions of an arm."""
    cursor.execute(
        "INSERT INTO impression_outcomes VALUES (%s, %s, %s, 'personalised', 1, %s, %s, 0, 0, 0)",
        (now - timedelta(hours=2), arm, version, shown, watched),
    )


def insert_monitor_run(cursor: Any, time: datetime, task: str, error: str = "") -> None:
    """Insert a run of a task of the monitor."""
    cursor.execute("INSERT INTO monitor_runs VALUES (%s, %s, 1, .1, %s)", (time, task, error))


def _stream_silent(cursor: Any, now: datetime, seconds: float) -> None:
    insert_delivery(cursor, now - timedelta(seconds=seconds), 1_000)


def _lag(cursor: Any, now: datetime, seconds: float) -> None:
    insert_delivery(cursor, now - timedelta(seconds=100), 1_000)
    insert_delivery(cursor, now - timedelta(seconds=40), 1_000, seconds * 1_000)


def _error_rate(cursor: Any, now: datetime, percent: float) -> None:
    insert_requests(cursor, now, 1_000, 1_000 - round(10 * percent))


def _slow_answers(cursor: Any, now: datetime, ms: float) -> None:
    """Of five minutes one is much slower and one much faster. A sixth has too few requests to count."""
    insert_requests(cursor, now, 720, 720, ms, 3)
    for minute, p99 in ((4, 10.0), (5, 9_000.0)):
        insert_requests(cursor, now - timedelta(minutes=minute), 720, 720, p99, 1)
    insert_requests(cursor, now - timedelta(minutes=6), 19, 19, 9_000, 1)


def _age_rule(cursor: Any, now: datetime, lists: float) -> None:
    """Each list has another note; of the bad ones also that of the broken rule. An older one does not count."""
    rows = [(1, "no-match"), (60, "age-rule-broken"), *[(2, "age-rule-broken")] * int(lists)]
    for number, (age_min, note) in enumerate(rows):
        cursor.execute(
            "INSERT INTO impressions (time, id, user_id, arm, model_version, release, tier, movies, notes) "
            "VALUES (%s, %s, '1', 'control', %s, 1, 'popular', '[]', %s)",
            (now - timedelta(minutes=age_min), f"age-rule-{number}", NEW_VERSION, [note]),
        )


def _quarantine_burst(cursor: Any, now: datetime, percent: float) -> None:
    insert_delivery(cursor, now - timedelta(minutes=3), 1_000)
    cursor.execute(
        "INSERT INTO quarantine SELECT %s - INTERVAL '3 minutes', 1, 0, n, 'unknown', '', '' "
        "FROM generate_series(1, %s) AS n",
        (now, round(10 * percent)),
    )


def _live_rmse(cursor: Any, now: datetime, points: float) -> None:
    """The old version's interval ends at 1.0 and the new version's begins ``points`` above that."""
    insert_accuracy(cursor, now - timedelta(hours=3), 86_400, "control", OLD_VERSION, 0.9, 1.0)
    insert_accuracy(cursor, now - timedelta(hours=4), 3_600, "control", OLD_VERSION, 0.9, 1.0)
    insert_accuracy(cursor, now - timedelta(minutes=30), 86_400, "control", NEW_VERSION, 1.0 + points, 1.2)
    insert_accuracy(cursor, now - timedelta(minutes=5), 3_600, "control", NEW_VERSION, 0.5, 1.5)


def _model_stale(cursor: Any, now: datetime, hours: float) -> None:
    """The newest check with a value counts: neither an older one nor a newer one without a value."""
    insert_check(cursor, now - timedelta(minutes=25), "model.age_h", 1_000)
    insert_check(cursor, now - timedelta(minutes=15), "model.age_h", hours)
    insert_check(cursor, now - timedelta(minutes=5), "model.age_h", None)


def _drift(cursor: Any, now: datetime, psi: float) -> None:
    insert_check(cursor, now - timedelta(minutes=5), "drift.movie_psi", psi)
    insert_check(cursor, now - timedelta(minutes=5), "drift.rating_psi", 0.01)
    insert_check(cursor, now - timedelta(minutes=5), "drift.rating_wasserstein", 0.9)


def insert_decision(cursor: Any, time: datetime, alert: str, e: float = 1, crossed: float = 0) -> None:
    """Insert the decision of a look at an experiment."""
    cursor.execute(
        "INSERT INTO experiment_decisions VALUES (%s, 'trial', 7, %s, 'hold', .02, '', 'a reason', %s, %s, 1, 'rates',"
        " 1, 1, %s, '')",
        (time, time, alert, e, crossed),
    )


def _experiment_harmed(cursor: Any, now: datetime, e: float) -> None:
    """The alert outlives the look that ended the experiment."""
    insert_decision(cursor, now - timedelta(hours=2), "harmed", e)
    insert_decision(cursor, now - timedelta(hours=3), "", 1e9)


def _experiment_invalid(cursor: Any, now: datetime, limits: float) -> None:
    """The newest look counts."""
    insert_decision(cursor, now - timedelta(minutes=4), "invalid", crossed=limits / 100)
    insert_decision(cursor, now - timedelta(minutes=9), "")


def _experiment_blind(cursor: Any, now: datetime, minutes: float) -> None:
    """Nothing was seen since a look ``minutes`` before the newest one."""
    newest = now - timedelta(minutes=2)
    insert_decision(cursor, newest, "blind")
    insert_decision(cursor, newest - timedelta(minutes=minutes / 2), "blind")
    insert_decision(cursor, newest - timedelta(minutes=minutes), "")


def _fairness_worse(cursor: Any, now: datetime, points: float) -> None:
    """The old interval ends at 0.2, the new one begins ``points`` above it; a day of few users does not count."""
    for hours, release, version, users, low, high in (
        (6, 1, OLD_VERSION, 400, 0.1, 0.2),
        (1, 2, NEW_VERSION, 350, 0.2 + points, 0.5),
        (0.5, 2, NEW_VERSION, 99, 0.9, 1.0),
    ):
        cursor.execute(
            "INSERT INTO live_fairness VALUES (%s, %s, 'control', %s, 'rmse_gap', 'age', '', 900, %s, %s, %s, %s)",
            (now - timedelta(hours=hours), release, version, users, low, low, high),
        )


def _concentration(cursor: Any, now: datetime, points: float) -> None:
    """Three days end at 0.4, the newest begins ``points`` above it; days of other numbers of users do not count."""
    rows = [(24 * day + 2, 400, 0.3, 0.4) for day in (1, 2, 3)]
    rows += [(1, 420, 0.4 + points, 0.8), *[(24 * day, 120, 0.8, 0.9) for day in (2, 3, 4)]]
    for hours, users, low, high in rows:
        cursor.execute(
            "INSERT INTO live_fairness VALUES (%s, 1, 'control', %s, 'exposure_top', '', '', 900, %s, %s, %s, %s)",
            (now - timedelta(hours=hours), NEW_VERSION, users, low, low, high),
        )


def _monitor_silent(cursor: Any, now: datetime, seconds: float) -> None:
    """One task succeeded ``seconds`` ago and has failed since; another one succeeds."""
    insert_monitor_run(cursor, now - timedelta(seconds=seconds), "quality")
    insert_monitor_run(cursor, now - timedelta(seconds=30), "quality", "the database is unavailable")
    insert_monitor_run(cursor, now - timedelta(seconds=30), "accuracy")


FAULTS = {
    "stream-silent": Fault(_stream_silent, 300, 301, {"topic": TOPIC}),
    "lag": Fault(_lag, 60, 60.001, {}),
    "error-rate": Fault(_error_rate, 1, 1.1, {}),
    "slow-answers": Fault(_slow_answers, 300, 300.1, {}),
    "age-rule": Fault(_age_rule, 0, 1, {"version": NEW_VERSION}),
    "quarantine-burst": Fault(_quarantine_burst, 2, 2.1, {}),
    "monitor-silent": Fault(_monitor_silent, 3_600, 3_601, {"task": "quality"}),
    "live-rmse": Fault(_live_rmse, 0, 0.001, {"version": NEW_VERSION}),
    "model-stale": Fault(_model_stale, 48, 48.1, {}),
    "drift": Fault(_drift, 0.25, 0.251, {"check": "movie_psi"}),
    "experiment-harmed": Fault(_experiment_harmed, 20, 20.1, {"experiment": "trial"}),
    "experiment-invalid": Fault(_experiment_invalid, 1, 1.01, {"experiment": "trial"}),
    "experiment-blind": Fault(_experiment_blind, 10, 10.1, {"experiment": "trial"}),
    "fairness-worse": Fault(_fairness_worse, 0, 0.001, {"metric": "rmse_gap", "kind": "age"}),
    "concentration": Fault(_concentration, 0, 0.001, {"metric": "exposure_top"}),
}
"""By the rule's name, which is its uid without the prefix."""
