"""For each rule, data from which its query gives a number that is given: nothing else is in the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from marquee.db.pool import Database

TABLES = (
    "deliveries_per_minute, availability, quarantine, live_accuracy, impression_outcomes, quality_checks, "
    "monitor_runs"
)
OLD, NEW = "20260213T020000Z-aaaaaaaa", "20260214T020000Z-bbbbbbbb"
Make = Callable[[Any, datetime, float], None]


def clear(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute(f"TRUNCATE {TABLES}")


def delivered(cursor: Any, time: datetime, lines: int, lag_ms: float = 400) -> None:
    cursor.execute(
        "INSERT INTO deliveries_per_minute VALUES (%s, 1, 0, 10, %s, 0, 100, %s)",
        (time, lines, round(lag_ms)),
    )


def stream_silent(cursor: Any, now: datetime, seconds: float) -> None:
    delivered(cursor, now - timedelta(seconds=seconds), 1_000)


def lag(cursor: Any, now: datetime, seconds: float) -> None:
    delivered(cursor, now - timedelta(seconds=100), 1_000)
    delivered(cursor, now - timedelta(seconds=40), 1_000, seconds * 1_000)


def asked(
    cursor: Any, now: datetime, requests: int, answered: int, p99_ms: float = 30, minutes: int = 5
) -> None:
    cursor.execute(
        "INSERT INTO availability SELECT %s - m * INTERVAL '1 minute', 's', %s, %s, 0, %s, 9, 15, %s "
        "FROM generate_series(1, %s) AS m",
        (now, requests, answered, requests - answered, p99_ms, minutes),
    )


def error_rate(cursor: Any, now: datetime, fraction: float) -> None:
    asked(cursor, now, 1_000, round(1_000 * (1 - fraction)))


def slow_answers(cursor: Any, now: datetime, ms: float) -> None:
    """The middle minute of five; one is much slower, one much faster, and one with few requests is not counted."""
    asked(cursor, now, 720, 720, ms, 3)
    for minute, p99 in ((4, 10.0), (5, 9_000.0)):
        asked(cursor, now - timedelta(minutes=minute), 720, 720, p99, 1)
    asked(cursor, now - timedelta(minutes=6), 19, 19, 9_000, 1)


def quarantine_burst(cursor: Any, now: datetime, fraction: float) -> None:
    delivered(cursor, now - timedelta(minutes=3), 1_000)
    cursor.execute(
        "INSERT INTO quarantine SELECT %s - INTERVAL '3 minutes', 1, 0, n, 'unknown', '', '' "
        "FROM generate_series(1, %s) AS n",
        (now, round(fraction * 1_000)),
    )


def accuracy(
    cursor: Any,
    time: datetime,
    window_s: int,
    arm: str,
    version: str,
    low: float,
    high: float,
    ratings: int = 900,
) -> None:
    rmse = (low + high) / 2
    cursor.execute(
        "INSERT INTO live_accuracy VALUES (%s, %s, %s, %s, %s, 90, %s, %s, %s, .7, .6, .8, .8, .8)",
        (time, window_s, arm, version, ratings, rmse, low, high),
    )


def live_rmse(cursor: Any, now: datetime, points: float) -> None:
    """The old version's last day had an interval up to 1.0; that of the new begins ``points`` above it."""
    accuracy(cursor, now - timedelta(hours=3), 86_400, "control", OLD, 0.9, 1.0)
    accuracy(cursor, now - timedelta(hours=4), 3_600, "control", OLD, 0.9, 1.0)
    accuracy(cursor, now - timedelta(minutes=30), 86_400, "control", NEW, 1.0 + points, 1.2)
    accuracy(cursor, now - timedelta(minutes=5), 3_600, "control", NEW, 0.5, 1.5)


def checked(cursor: Any, time: datetime, name: str, value: float | None) -> None:
    cursor.execute(
        "INSERT INTO quality_checks VALUES (%s, %s, %s, 0, 1, '', 'good', '')", (time, name, value)
    )


def model_stale(cursor: Any, now: datetime, hours: float) -> None:
    """The newest check that could tell: an older one and one without a value are not it."""
    checked(cursor, now - timedelta(minutes=25), "model.age_h", 1_000)
    checked(cursor, now - timedelta(minutes=15), "model.age_h", hours)
    checked(cursor, now - timedelta(minutes=5), "model.age_h", None)


def drift(cursor: Any, now: datetime, psi: float) -> None:
    checked(cursor, now - timedelta(minutes=5), "drift.movie_psi", psi)
    checked(cursor, now - timedelta(minutes=5), "drift.rating_psi", 0.01)
    checked(cursor, now - timedelta(minutes=5), "drift.rating_wasserstein", 0.9)


def canary_regressed(cursor: Any, now: datetime, errors: float) -> None:
    """RMSE of the canary is ``errors`` standard errors of the difference above control's; both have the same."""
    half, error = 0.098, 0.098 * 2 / 3.92
    accuracy(cursor, now - timedelta(minutes=30), 86_400, "control", OLD, 1 - half, 1 + half)
    worse = 1 + errors * error * 2**0.5
    accuracy(cursor, now - timedelta(minutes=30), 86_400, "canary", NEW, worse - half, worse + half)
    for arm, version in (("control", OLD), ("canary", NEW)):
        accuracy(cursor, now - timedelta(minutes=5), 3_600, arm, version, 0.9, 1.1)


def watched(cursor: Any, now: datetime, arm: str, version: str, shown: int, watched: int) -> None:
    cursor.execute(
        "INSERT INTO impression_outcomes VALUES (%s, %s, %s, 'personalised', 1, %s, %s, 0, 0, 0)",
        (now - timedelta(hours=2), arm, version, shown, watched),
    )


def ran(cursor: Any, time: datetime, task: str, error: str = "") -> None:
    cursor.execute("INSERT INTO monitor_runs VALUES (%s, %s, 1, .1, %s)", (time, task, error))


def monitor_silent(cursor: Any, now: datetime, seconds: float) -> None:
    """One task ended well so long ago, and failed since; another is well."""
    ran(cursor, now - timedelta(seconds=seconds), "quality")
    ran(cursor, now - timedelta(seconds=30), "quality", "the database was away")
    ran(cursor, now - timedelta(seconds=30), "accuracy")


# name -> (what makes it, a number that is still good, the next that is not, labels of what fires)
FAULTS: dict[str, tuple[Make, float, float, dict[str, str]]] = {
    "stream-silent": (stream_silent, 300, 301, {}),
    "lag": (lag, 60, 60.001, {}),
    "error-rate": (error_rate, 0.01, 0.011, {}),
    "slow-answers": (slow_answers, 300, 300.1, {}),
    "quarantine-burst": (quarantine_burst, 0.02, 0.021, {}),
    "monitor-silent": (monitor_silent, 3_600, 3_601, {"task": "quality"}),
    "live-rmse": (live_rmse, 0, 0.001, {"version": NEW}),
    "model-stale": (model_stale, 48, 48.1, {}),
    "drift": (drift, 0.25, 0.251, {"check": "movie_psi"}),
    "canary-regressed": (canary_regressed, 2.99, 3.01, {"arm": "canary", "measure": "RMSE"}),
}
