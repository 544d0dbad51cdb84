"""Checks of the data fire on what is wrong and rest on what is right; a strong drift asks for a retraining once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.serving.models import movie_id_of, released, two_tastes
from tests.support.records import rows

from marquee.db import retrain_queue
from marquee.db.pool import Database
from marquee.monitoring import batch_checks, check_result
from marquee.monitoring.check_result import Check, Verdict
from marquee.monitoring.drift_monitor import DriftMonitor
from marquee.monitoring.quality_task import QualityChecks
from marquee.registry.item_store import read_items
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
LEARNT = NOON - timedelta(hours=30)
GOOD, WARNING, BAD = Verdict.GOOD, Verdict.WARNING, Verdict.BAD


@pytest.fixture
def database(both: Database) -> Database:
    return both


def lines(database: Database, table: str, count: int, ago: timedelta, **columns: str) -> None:
    """``count`` rows at one time, n = 1 ...; other columns by an expression of n."""
    first = int(ago.total_seconds() * 1_000_000)
    with database.transaction() as cursor:
        cursor.execute(
            f'INSERT INTO {table} (time, topic_key, partition, "offset", {", ".join(columns)}) '
            f"SELECT %s, 1, 0, %s + n, {', '.join(columns.values())} FROM generate_series(1, %s) AS n",
            (NOON - ago, first, count),
        )


def watches(database: Database, count: int, ago: timedelta = timedelta(minutes=1), minute: str = "5") -> None:
    lines(database, "watches", count, ago, user_id="n::text", movie_id="'a+1990'", minute=minute)


def by_name(found: Sequence[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def check(database: Database) -> dict[str, Check]:
    return by_name(batch_checks.check_batches(database, NOON, 5))


def verdicts(found: dict[str, Check]) -> dict[str, Verdict]:
    return {name: c.verdict for name, c in found.items() if c.verdict is not GOOD}


def test_sound_lines_give_no_warning(database: Database) -> None:
    watches(database, 900)
    lines(
        database,
        "ratings",
        50,
        timedelta(minutes=2),
        user_id="n::text",
        movie_id="'a+1990'",
        rating="mod(n, 5) + 1",
    )
    found = check(database)
    assert verdicts(found) == {}
    assert (found["volume.watch"].value, found["volume.rating"].value) == (900, 50)
    assert found["range.rating_rate"].value == found["quarantine.rate"].value == 0


def test_no_line_at_all_says_nothing_of_rates(database: Database) -> None:
    found = check(database)
    assert {name for name, c in found.items() if c.value is None} == {
        "quarantine.rate",
        "delivery.again_rate",
        "delivery.lag_s",
        "range.rating_rate",
        "range.minute_rate",
        "schema.id_rate",
    }


def test_what_breaks_the_protocol_is_found(database: Database) -> None:
    """One rating in ten off the scale, one id in fifty that is none, minutes that no movie has, a line of tomorrow."""
    lines(database, "ratings", 50, timedelta(minutes=2), user_id="CASE n WHEN 1 THEN 'x' ELSE n::text END",
          movie_id="'a+1990'", rating="CASE WHEN mod(n, 10) = 0 THEN 9 ELSE 3 END")  # fmt: skip
    watches(database, 1_000, minute="CASE n WHEN 1 THEN 5000 ELSE 5 END")
    watches(database, 1, -timedelta(days=1))
    found = check(database)
    assert verdicts(found) == {
        "range.rating_rate": BAD,
        "schema.id_rate": BAD,
        "range.minute_rate": WARNING,
        "range.ahead_rows": WARNING,
    }
    assert (found["range.rating_rate"].value, found["schema.id_rate"].value) == (0.1, 0.02)
    assert found["range.minute_rate"].value == 0.001


@pytest.mark.parametrize(("quarantined", "verdict"), [(1, GOOD), (10, WARNING), (30, BAD)])
def test_quarantine_rate(plain: Database, quarantined: int, verdict: Verdict) -> None:
    watches(plain, 1_000 - quarantined)
    lines(plain, "quarantine", quarantined, timedelta(minutes=1), category="'minute'", detail="''", raw="''")
    found = check(plain)["quarantine.rate"]
    assert (found.value, found.verdict, found.detail) == (
        quarantined / 1_000,
        verdict,
        f"minute {quarantined}",
    )


def test_deliveries(plain: Database) -> None:
    """A minute's lag and most lines twice: redelivery that somebody should look at."""
    with plain.transaction() as cursor:
        cursor.execute(
            "INSERT INTO deliveries_per_minute VALUES (%s, 1, 0, 3, 100, 60, 50, 61000)",
            (NOON - timedelta(minutes=1),),
        )
    assert verdicts(check(plain)) == {"delivery.again_rate": BAD, "delivery.lag_s": BAD}


def usual(database: Database, days: int, value: float) -> None:
    """The same volume each five minutes of past days, half of it at night."""
    for day in range(1, days + 1):
        for minutes in range(-60, 61, 5):
            time = NOON - timedelta(days=day, minutes=minutes)
            check_result.write_checks(database, time, [Check("volume.watch", value, "lines")])
            check_result.write_checks(
                database, time - timedelta(hours=10), [Check("volume.watch", value / 50, "lines")]
            )


@pytest.mark.parametrize(
    ("count", "verdict"),
    [(1_000, GOOD), (700, GOOD), (400, WARNING), (1_600, WARNING), (200, BAD), (4_000, BAD), (0, BAD)],
)
def test_volume_against_the_usual_for_the_hour(plain: Database, count: int, verdict: Verdict) -> None:
    usual(plain, 4, 1_000)
    if count:
        watches(plain, count)
    found = check(plain)["volume.watch"]
    assert (found.value, found.verdict, found.usual_low, found.usual_high) == (count, verdict, 500, 1_500)


def test_nothing_is_usual_before_three_days(plain: Database) -> None:
    usual(plain, 2, 1_000)
    found = check(plain)["volume.watch"]
    assert (found.verdict, found.detail) == (GOOD, "nothing is usual yet: 2 of 3 days")


def rated(database: Database, count: int, ago: timedelta, *, rating: str, user: str, movie: str) -> None:
    lines(database, "ratings", count, ago, user_id=user, movie_id=movie, rating=rating)


SAME = {
    "rating": "mod(n, 5) + 1",
    "user": "(n / 2)::text",
    "movie": f"replace('{movie_id_of(0)}', '0+', (mod(n, 60)) || '+')",
}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Movies of equal popularity: a tenth of them has a tenth of it."""
    store = FileStore(tmp_path / "objects")
    model = two_tastes()
    model.popularity[:] = 1.0
    released(store, model, LEARNT)
    return store


def world(database: Database, store: FileStore) -> dict[str, Check]:
    version = next(iter(store.list("models/"))).split("/")[1]
    return by_name(DriftMonitor().check(database, read_items(store, version), NOON))


def test_the_same_world_rests(database: Database, store: FileStore) -> None:
    rated(database, 4_000, timedelta(hours=40), **SAME)
    rated(database, 4_000, timedelta(hours=4), **SAME)
    found = world(database, store)
    assert verdicts(found) == {}
    assert {name for name, c in found.items() if c.value is None} == set()
    assert found["drift.rating_psi"].value == found["drift.rating_wasserstein"].value == 0
    assert found["model.age_h"].value == 4


def test_each_drift_fires_alone(database: Database, store: FileStore) -> None:
    """Higher ratings; a few movies for all; users who rate twice as much; movies that nobody knew."""
    shifted: dict[str, dict[str, str]] = {
        "drift.rating_psi": {"rating": "CASE WHEN mod(n, 2) = 0 THEN 5 ELSE mod(n, 5) + 1 END"},
        "drift.movie_psi": {"movie": f"replace('{movie_id_of(0)}', '0+', (mod(n, 30)) || '+')"},
        "drift.activity_psi": {"user": "(mod(n, 1000))::text"},
        "movies.unknown_rate": {"movie": f"replace('{movie_id_of(0)}', '0+', (mod(n, 70)) || '+')"},
    }
    rated(database, 4_000, timedelta(hours=40), **SAME)
    for name, change in shifted.items():
        with database.transaction() as cursor:
            cursor.execute("DELETE FROM ratings WHERE time > %s", (NOON - timedelta(days=1),))
        rated(database, 4_000, timedelta(hours=4), **{**SAME, **change})
        fired = verdicts(world(database, store))
        assert fired.pop(name) is BAD, name
        assert set(fired) <= {"drift.rating_wasserstein"}, name


def test_too_few_to_tell(database: Database, store: FileStore) -> None:
    rated(database, 999, timedelta(hours=4), **SAME)
    found = world(database, store)
    assert found["drift.rating_psi"].value is None
    assert found["drift.movie_psi"].detail == "too few to tell: 999 movies rated or begun of 1,000"


@pytest.mark.parametrize(("hours", "verdict"), [(20, GOOD), (40, WARNING), (80, BAD)])
def test_the_age_of_the_model(plain: Database, tmp_path: Path, hours: int, verdict: Verdict) -> None:
    """By what it has not learnt from: a stream that is silent makes no model old."""
    store = FileStore(tmp_path / "objects")
    released(store, through=NOON - timedelta(hours=hours))
    assert world(plain, store)["model.age_h"].value == 0
    rated(plain, 5, timedelta(hours=hours) - timedelta(minutes=30), **SAME)
    found = world(plain, store)["model.age_h"]
    assert (found.value, found.verdict) == (hours - 0.5, verdict)


def test_strong_drift_asks_for_a_retraining_once(database: Database, store: FileStore) -> None:
    """However often it is found; the row says which check, and of which model."""
    rated(database, 4_000, timedelta(hours=40), **SAME)
    rated(database, 4_000, timedelta(hours=4), **{**SAME, "rating": "5"})
    quality = QualityChecks(rating_max=5)
    for minutes in range(3):
        quality.run(database, store, NOON + timedelta(minutes=minutes))
    asked: list[tuple[Any, ...]] = rows(
        database, "SELECT check_name, model_version <> '', claimed FROM retrain_requests"
    )
    assert asked == [("drift.rating_psi", True, None)]
    (reason,) = retrain_queue.pending(database, NOON + timedelta(hours=1))
    assert reason.startswith("drift.rating_psi is ")
    before = rows(database, "SELECT * FROM quality_checks ORDER BY time, name")
    quality.run(database, store, NOON + timedelta(minutes=2, seconds=30))  # The same minute.
    assert rows(database, "SELECT * FROM quality_checks ORDER BY time, name") == before


def test_without_a_release_the_lines_are_checked_all_the_same(plain: Database, tmp_path: Path) -> None:
    watches(plain, 10)
    assert QualityChecks(5).run(plain, FileStore(tmp_path), NOON) == 12
    assert rows(plain, "SELECT count(*) FROM retrain_requests") == [(0,)]
