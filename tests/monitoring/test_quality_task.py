"""Data quality checks are quiet on valid data and fire on faults; a strong drift requests one retraining."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.serving.models import make_movie_id, release_model, two_group_model
from tests.support.records import rows

from marquee.db import retrain_queue
from marquee.db.pool import Database
from marquee.events.log_scale import FIVE_STARS
from marquee.monitoring import batch_checks, check_result
from marquee.monitoring.check_result import Check, Verdict
from marquee.monitoring.drift_monitor import DriftMonitor
from marquee.monitoring.quality_task import QualityChecks
from marquee.registry.item_store import read_items
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
TRAINED_THROUGH = NOON - timedelta(hours=30)
GOOD, WARNING, BAD = Verdict.GOOD, Verdict.WARNING, Verdict.BAD


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


def insert_rows(database: Database, table: str, count: int, ago: timedelta, **columns: str) -> None:
    """Insert ``count`` rows with one time. Columns are SQL expressions of the row number n, which starts at 1."""
    first = int(ago.total_seconds() * 1_000_000)
    with database.transaction() as cursor:
        cursor.execute(
            f'INSERT INTO {table} (time, topic_key, partition, "offset", {", ".join(columns)}) '
            f"SELECT %s, 1, 0, %s + n, {', '.join(columns.values())} FROM generate_series(1, %s) AS n",
            (NOON - ago, first, count),
        )


def insert_watches(database: Database, count: int, ago: timedelta = timedelta(minutes=1), minute: str = "5") -> None:
    """Insert watch events of one movie by as many users."""
    insert_rows(database, "watches", count, ago, user_id="n::text", movie_id="'a+1990'", minute=minute)


def index_by_name(checks: Sequence[Check]) -> dict[str, Check]:
    """Return the checks by name."""
    return {check.name: check for check in checks}


def check_batches(database: Database) -> dict[str, Check]:
    """Return the batch checks as of noon, by name."""
    return index_by_name(batch_checks.check_batches(database, NOON, FIVE_STARS))


def list_problems(checks: dict[str, Check]) -> dict[str, Verdict]:
    """Return the verdicts that are not good, by name."""
    return {name: check.verdict for name, check in checks.items() if check.verdict is not GOOD}


def test_check_batches_valid_records_are_good(database: Database) -> None:
    """Volumes are counted, and all rates are 0."""
    insert_watches(database, 900)
    insert_rows(
        database,
        "ratings",
        50,
        timedelta(minutes=2),
        user_id="n::text",
        movie_id="'a+1990'",
        rating="mod(n, 5) + 1",
    )
    checks = check_batches(database)
    assert list_problems(checks) == {}
    assert (checks["volume.watch"].value, checks["volume.rating"].value) == (900, 50)
    assert checks["range.rating_rate"].value == checks["quarantine.rate"].value == 0


def test_check_batches_empty_tables_have_no_rates(database: Database) -> None:
    """A rate without records has no value."""
    checks = check_batches(database)
    assert {name for name, check in checks.items() if check.value is None} == {
        "quarantine.rate",
        "delivery.redelivered_rate",
        "delivery.lag_s",
        "range.rating_rate",
        "range.minute_rate",
        "schema.id_rate",
    }


def test_check_batches_invalid_values_are_bad(database: Database) -> None:
    """One rating in ten is off the scale, one id in fifty is invalid, a minute is too high, a time is ahead."""
    insert_rows(database, "ratings", 50, timedelta(minutes=2), user_id="CASE n WHEN 1 THEN 'x,y' ELSE n::text END",
          movie_id="'a+1990'", rating="CASE WHEN mod(n, 10) = 0 THEN 9 ELSE 3 END")  # fmt: skip
    insert_watches(database, 1_000, minute="CASE n WHEN 1 THEN 5000 ELSE 5 END")
    insert_watches(database, 1, -timedelta(days=1))
    checks = check_batches(database)
    assert list_problems(checks) == {
        "range.rating_rate": BAD,
        "schema.id_rate": BAD,
        "range.minute_rate": WARNING,
        "range.ahead_rows": WARNING,
    }
    assert (checks["range.rating_rate"].value, checks["schema.id_rate"].value) == (0.1, 0.02)
    assert checks["range.minute_rate"].value == 0.001


@pytest.mark.parametrize(("quarantined", "verdict"), [(1, GOOD), (10, WARNING), (30, BAD)])
def test_check_batches_quarantine_rate_has_limits(
    postgres_database: Database, quarantined: int, verdict: Verdict
) -> None:
    """The verdict follows the rate, and the detail has the categories."""
    insert_watches(postgres_database, 1_000 - quarantined)
    insert_rows(
        postgres_database,
        "quarantine",
        quarantined,
        timedelta(minutes=1),
        category="'minute'",
        detail="''",
        raw="''",
    )
    checks = check_batches(postgres_database)["quarantine.rate"]
    assert (checks.value, checks.verdict, checks.detail) == (
        quarantined / 1_000,
        verdict,
        f"minute {quarantined}",
    )


def test_check_batches_redelivery_and_lag_are_bad(postgres_database: Database) -> None:
    """A lag of a minute and 60 % of redelivered records are bad."""
    with postgres_database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO deliveries_per_minute VALUES (%s, 1, 0, 3, 100, 60, 50, 61000)",
            (NOON - timedelta(minutes=1),),
        )
    assert list_problems(check_batches(postgres_database)) == {
        "delivery.redelivered_rate": BAD,
        "delivery.lag_s": BAD,
    }


def write_volume_history(database: Database, days: int, value: float) -> None:
    """Write the same volume for an hour around noon of past days, and a fiftieth of it at night."""
    for day in range(1, days + 1):
        for minutes in range(-60, 61, 5):
            time = NOON - timedelta(days=day, minutes=minutes)
            check_result.write_checks(database, time, [Check("volume.watch", value, "records")])
            check_result.write_checks(
                database, time - timedelta(hours=10), [Check("volume.watch", value / 50, "records")]
            )


@pytest.mark.parametrize(
    ("count", "verdict"),
    [(1_000, GOOD), (700, GOOD), (400, WARNING), (1_600, WARNING), (200, BAD), (4_000, BAD), (0, BAD)],
)
def test_check_batches_volume_is_compared_with_same_time_of_day(
    postgres_database: Database, count: int, verdict: Verdict
) -> None:
    """The usual range is that of the same time of day, with half of the median added on both sides."""
    write_volume_history(postgres_database, 4, 1_000)
    if count:
        insert_watches(postgres_database, count)
    checks = check_batches(postgres_database)["volume.watch"]
    assert (checks.value, checks.verdict, checks.usual_low, checks.usual_high) == (count, verdict, 500, 1_500)


def test_check_batches_volume_without_history_is_good(postgres_database: Database) -> None:
    """There is no usual range before three days of history."""
    write_volume_history(postgres_database, 2, 1_000)
    checks = check_batches(postgres_database)["volume.watch"]
    assert (checks.verdict, checks.detail) == (GOOD, "no usual range yet: 2 of 3 days")


def insert_ratings(database: Database, count: int, ago: timedelta, *, rating: str, user: str, movie: str) -> None:
    """Insert ratings; rating, user and movie are SQL expressions of the row number."""
    insert_rows(database, "ratings", count, ago, user_id=user, movie_id=movie, rating=rating)


REFERENCE = {
    "rating": "mod(n, 5) + 1",
    "user": "(n / 2)::text",
    "movie": f"replace('{make_movie_id(0)}', '0+', (mod(n, 60)) || '+')",
}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return a store whose model has movies of equal popularity."""
    store = FileStore(tmp_path / "objects")
    model = two_group_model()
    model.popularity[:] = 1.0
    release_model(store, model, TRAINED_THROUGH)
    return store


def check_drift(database: Database, store: FileStore) -> dict[str, Check]:
    """Return the drift checks of the model in the store as of noon, by name."""
    version = next(iter(store.list("models/"))).split("/")[1]
    return index_by_name(DriftMonitor().check(database, read_items(store, version), NOON))


def test_drift_monitor_same_distribution_is_good(database: Database, store: FileStore) -> None:
    """Every check has a value, and the distances are 0."""
    insert_ratings(database, 4_000, timedelta(hours=40), **REFERENCE)
    insert_ratings(database, 4_000, timedelta(hours=4), **REFERENCE)
    checks = check_drift(database, store)
    assert list_problems(checks) == {}
    assert {name for name, check in checks.items() if check.value is None} == set()
    assert checks["drift.rating_psi"].value == checks["drift.rating_wasserstein"].value == 0
    assert checks["model.age_h"].value == 4


def test_drift_monitor_each_drift_fires_its_own_check(database: Database, store: FileStore) -> None:
    """Higher ratings, fewer movies, more ratings a user, and unknown movies are told apart."""
    shifted: dict[str, dict[str, str]] = {
        "drift.rating_psi": {"rating": "CASE WHEN mod(n, 2) = 0 THEN 5 ELSE mod(n, 5) + 1 END"},
        "drift.movie_psi": {"movie": f"replace('{make_movie_id(0)}', '0+', (mod(n, 30)) || '+')"},
        "drift.activity_psi": {"user": "(mod(n, 1000))::text"},
        "movies.unknown_rate": {"movie": f"replace('{make_movie_id(0)}', '0+', (mod(n, 70)) || '+')"},
    }
    insert_ratings(database, 4_000, timedelta(hours=40), **REFERENCE)
    for name, change in shifted.items():
        with database.transaction() as cursor:
            cursor.execute("DELETE FROM ratings WHERE time > %s", (NOON - timedelta(days=1),))
        insert_ratings(database, 4_000, timedelta(hours=4), **{**REFERENCE, **change})
        problems = list_problems(check_drift(database, store))
        assert problems.pop(name) is BAD, name
        assert set(problems) <= {"drift.rating_wasserstein"}, name


def test_drift_monitor_small_sample_has_no_value(database: Database, store: FileStore) -> None:
    """With 999 ratings there is no index, and the detail says so."""
    insert_ratings(database, 999, timedelta(hours=4), **REFERENCE)
    checks = check_drift(database, store)
    assert checks["drift.rating_psi"].value is None
    assert checks["drift.movie_psi"].detail == "too few data: 999 ratings and watch sessions of 1,000"


@pytest.mark.parametrize(("hours", "verdict"), [(20, GOOD), (40, WARNING), (80, BAD)])
def test_drift_monitor_age_is_that_of_first_unseen_rating(
    postgres_database: Database, tmp_path: Path, hours: int, verdict: Verdict
) -> None:
    """A silent stream makes no model old."""
    store = FileStore(tmp_path / "objects")
    release_model(store, through=NOON - timedelta(hours=hours))
    assert check_drift(postgres_database, store)["model.age_h"].value == 0
    insert_ratings(postgres_database, 5, timedelta(hours=hours) - timedelta(minutes=30), **REFERENCE)
    checks = check_drift(postgres_database, store)["model.age_h"]
    assert (checks.value, checks.verdict) == (hours - 0.5, verdict)


def test_quality_checks_strong_drift_requests_one_retraining(database: Database, store: FileStore) -> None:
    """The request names the check and the model. Checks of the same minute are not written twice."""
    insert_ratings(database, 4_000, timedelta(hours=40), **REFERENCE)
    insert_ratings(database, 4_000, timedelta(hours=4), **{**REFERENCE, "rating": "5"})
    quality = QualityChecks(FIVE_STARS)
    for minutes in range(3):
        quality.run(database, store, NOON + timedelta(minutes=minutes))
    requests: list[tuple[Any, ...]] = rows(
        database, "SELECT check_name, model_version <> '', claimed FROM retrain_requests"
    )
    assert requests == [("drift.rating_psi", True, None)]
    (reason,) = retrain_queue.pending(database, NOON + timedelta(hours=1))
    assert reason.startswith("drift.rating_psi is ")
    before = rows(database, "SELECT * FROM quality_checks ORDER BY time, name")
    quality.run(database, store, NOON + timedelta(minutes=2, seconds=30))  # The same minute.
    assert rows(database, "SELECT * FROM quality_checks ORDER BY time, name") == before


def test_quality_checks_without_release_check_records(postgres_database: Database, tmp_path: Path) -> None:
    """Without a release there are batch checks and no request."""
    insert_watches(postgres_database, 10)
    assert QualityChecks(FIVE_STARS).run(postgres_database, FileStore(tmp_path), NOON) == 14
    assert rows(postgres_database, "SELECT count(*) FROM retrain_requests") == [(0,)]
