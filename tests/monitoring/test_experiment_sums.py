"""Tests of the sums that SQL yields, against NumPy on the same rows, on both kinds of database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from tests.monitoring.experiment_stream import declare, read_timeline, start_canary

from marquee.db.pool import Database
from marquee.experiments.ratio_estimates import sum_users
from marquee.monitoring.experiment_sums import read_as_of, read_baselines, read_look
from marquee.monitoring.experiment_timeline import Timeline
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers
NOW = datetime.now(UTC)
USERS, HOURS = 40, 24 * 7
METRICS = {"answered": ("bad", "asks"), "late": ("late", "asks"), "watched": ("watched", "lists")}


@pytest.fixture
def timeline(store: FileStore) -> Timeline:
    start_canary(store, declare(), age=timedelta(days=7))
    return read_timeline(store)


def _insert(database: Database, table: str, made: list[tuple[object, ...]]) -> None:
    with database.transaction() as cursor:
        for first in range(0, len(made), 500):
            chunk = made[first : first + 500]
            row = f"({', '.join(['%s'] * len(chunk[0]))})"
            cursor.execute(f"INSERT INTO {table} VALUES {', '.join([row] * len(chunk))}", [v for r in chunk for v in r])


def test_read_look_sums_equal_numpy(each_database: Database, timeline: Timeline) -> None:
    """A made week: every sum of every metric and arm equals NumPy's to a relative 1e-9."""
    rng = np.random.default_rng(5)
    arms = np.array(["control", "canary"])[rng.integers(0, 2, USERS)]
    pre = rng.exponential(50, (USERS, 2))
    asked = [timeline.started + timedelta(hours=float(h)) for h in rng.uniform(0, 100, USERS)]
    name = timeline.name
    _insert(
        each_database,
        "experiment_users",
        [
            (name, str(u), str(arms[u]), timeline.started, asked[u], None, False, *map(float, pre[u]))
            for u in range(USERS)
        ],
    )
    counts = rng.poisson(rng.gamma(0.5, 2, (USERS, 1, 7)), (USERS, HOURS // 4, 7))
    _insert(
        each_database,
        "experiment_hours",
        [
            (timeline.started + timedelta(hours=4 * h), name, str(u), str(arms[u]), *map(int, counts[u, h]), NOW)
            for u in range(USERS)
            for h in range(HOURS // 4)
        ],
    )
    look = read_look(each_database, timeline, NOW, 4.0, {})
    totals = counts.sum(1).astype(float)
    columns = dict(zip(("asks", "failed", "late", "lists", "watched", "minutes", "all_minutes"), totals.T, strict=True))
    # At most four times the median of lists of a user count, and movies begun alike.
    most = max(4 * float(np.median(columns["lists"][columns["lists"] > 0])), 20)
    share = np.minimum(1, most / np.maximum(columns["lists"], 1))
    assert (share < 1).any()
    columns["watched"], columns["lists"] = columns["watched"] * share, columns["lists"] * share
    columns["bad"] = columns["failed"] + columns["late"]
    columns["days"] = np.array([(NOW - t).total_seconds() / 86_400 for t in asked])
    metrics = {**METRICS, **{name: (name, "days") for name in ("minutes", "all_minutes", "asks")}}
    for metric, (y, x) in metrics.items():
        for arm in ("control", "canary"):
            counted = (arms == arm) & (columns[x] > 0)
            expected = sum_users(columns[y][counted], columns[x][counted], pre[counted, 0], pre[counted, 1])
            np.testing.assert_allclose(look.sums[metric][arm], expected, rtol=1e-9)
    bad = columns["bad"] > 0
    assert look.failed == {arm: int((bad & (arms == arm)).sum()) for arm in ("control", "canary")}
    assert look.users == {arm: int((arms == arm).sum()) for arm in ("control", "canary")}


def test_read_look_pairs_equal_numpy(each_database: Database, timeline: Timeline) -> None:
    """Losses are new minus old, hits old minus new; a pair without values counts nowhere."""
    rng = np.random.default_rng(6)
    old, new = rng.exponential(1, (2, USERS, 5))
    _insert(
        each_database,
        "experiment_pairs",
        [
            (NOW, timeline.name, "canary", kind, str(u), str(m), float(old[u, m]), float(new[u, m]))
            for kind in ("rating", "view")
            for u in range(USERS)
            for m in range(5)
        ]
        + [(NOW, timeline.name, "canary", "rating", "none", "m", None, None)],
    )
    look = read_look(each_database, timeline, NOW, 4.0, {})
    difference = (new - old).sum(1)
    for metric, y in (("rates", difference), ("ranks", -difference)):
        np.testing.assert_allclose(look.sums[metric]["canary"], sum_users(y, np.full(USERS, 5.0)), rtol=1e-9)


def test_read_as_of_is_the_least_partition_that_is_not_idle(database: Database) -> None:
    """A partition an hour behind has no records, and one a minute behind is waited for."""
    assert read_as_of(database, NOW) is None
    behind = {0: 1.0, 1: 0.0, 2: 90.0}
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('m', 'a') RETURNING topic_key")
        key = cursor.fetchone()[0]
        for partition, minutes in behind.items():
            cursor.execute("INSERT INTO written_offsets VALUES (%s, %s, 0, 0, 0, 0, 0, 0, now())", (key, partition))
            cursor.execute(
                "INSERT INTO ratings VALUES (%s, %s, %s, 1, 'u', 'm', 3)",
                (NOW - timedelta(minutes=minutes), key, partition),
            )
    assert read_as_of(database, NOW) == NOW - timedelta(minutes=1)
    assert read_as_of(database, NOW - timedelta(minutes=5)) == NOW - timedelta(minutes=5)


def test_read_baselines_are_those_of_before_the_start(database: Database, timeline: Timeline) -> None:
    """The mean squared error of the predictions of the two weeks before; they are stored, and stay."""
    before = timeline.started - timedelta(days=1)
    with database.transaction() as cursor:
        cursor.execute(
            'INSERT INTO predictions (time, topic_key, partition, "offset", user_id, movie_id, rating, source,'
            " predicted) SELECT %s, 1, 0, n, 'u', 'm', 4, 'computed', 3 FROM generate_series(1, 60) AS n",
            (before,),
        )
    window = timedelta(minutes=60)
    assert read_baselines(database, timeline, window, 600, NOW, store=True) == {"rates": 1.0}
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM predictions")
    assert read_baselines(database, timeline, window, 600, NOW, store=True) == {"rates": 1.0}
