"""Rollups on plain PostgreSQL: the views equal a count of all rows, however far the roll-up is."""

from __future__ import annotations

from contextlib import closing
from zoneinfo import ZoneInfo

import psycopg2
import pytest
from tests.support.records import account, ask, batch, rate, rows, watch

from marquee.db import rollups
from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch, ImpressionMovie
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.ingest import quarantine, retention_terms
from marquee.ingest.store import write_batch, write_impressions

pytestmark = pytest.mark.servers
PARSER = EventParser(ZoneInfo("UTC"))
BUCKET = "date_bin('1 {unit}', time, TIMESTAMPTZ '2000-01-03 00:00:00+00')"
MINUTE, HOUR, DAY = (BUCKET.format(unit=unit) for unit in ("minute", "hour", "day"))
# View -> the same from the rows.
DIRECT = {
    "watches_per_minute": f"SELECT {MINUTE}, count(*) FROM watches GROUP BY 1",
    "movie_watches_per_hour": f"SELECT {HOUR}, movie_id, count(*) FROM watches GROUP BY 1, 2",
    "ratings_per_minute": f"SELECT {MINUTE}, count(*), sum(rating), sum(rating * rating) FROM ratings GROUP BY 1",
    "movie_ratings_per_day": f"SELECT {DAY}, movie_id, count(*), sum(rating) FROM ratings GROUP BY 1, 2",
    "recommendation_requests_per_minute": f"SELECT {MINUTE}, status, count(*), sum(response_ms), max(response_ms) "
    "FROM recommendation_requests GROUP BY 1, 2",
    "quarantine_per_minute": f"SELECT {MINUTE}, category, count(*) FROM quarantine GROUP BY 1, 2",
    "impressions_per_minute": f"SELECT {MINUTE}, arm, model_version, tier, count(*) FROM impressions "
    "GROUP BY 1, 2, 3, 4",
}


def differences(database: Database) -> dict[str, object]:
    """Return the views that differ from a count of the rows, with both contents."""
    pairs = {view: (rows(database, f"TABLE {view}"), rows(database, direct)) for view, direct in DIRECT.items()}
    return {view: pair for view, pair in pairs.items() if sorted(pair[0]) != sorted(pair[1])}


def write_records(database: Database, first: int, hour: int = 0, partition: int = 0) -> None:
    """Write records of every kind, two of them malformed, with times in ``hour``."""
    stamp = f"2026-02-14T{hour:02d}:09:20"
    values = [watch(user, minute, f"film+{user % 3}+1999", stamp) for user in range(5) for minute in range(4)]
    values += [rate(1, 4, time=stamp), rate(2, 11, time=stamp), account(7), ask(3, 200, "a+1"), "nothing"]
    write_batch(database, batch(values, first, partition=partition), PARSER)


def test_rollups_at_any_progress_equal_counts_of_rows(postgres_database: Database) -> None:
    """New records, late ones, an older offset, another partition: exact before, between and after the steps."""
    write_records(postgres_database, 1_000, hour=5)
    assert differences(postgres_database) == {}
    assert rollups.roll_up(postgres_database) == 25
    assert differences(postgres_database) == {}
    write_records(postgres_database, 2_000, hour=1)  # Late by event time.
    write_records(postgres_database, 100, hour=5)  # Offsets before those that were rolled up.
    write_records(postgres_database, 0, hour=6, partition=1)
    assert differences(postgres_database) == {}
    assert rollups.roll_up(postgres_database, budget_s=0, step=7) == 7
    assert differences(postgres_database) == {}
    assert rollups.roll_up(postgres_database, step=7) == 68
    assert differences(postgres_database) == {}
    assert rollups.roll_up(postgres_database) == 0
    assert rows(postgres_database, "SELECT count(*) FROM rollups.new_watches") == [(0,)]


def test_rollups_redelivered_batch_counts_once(postgres_database: Database) -> None:
    """A delivery that repeats rows adds nothing."""
    for _ in range(2):
        write_records(postgres_database, 0)
        rollups.roll_up(postgres_database)
    assert differences(postgres_database) == {}


def test_rollups_killed_step_is_repeated(postgres_database: Database) -> None:
    """A step whose transaction does not commit leaves nothing behind; the next run adds its offsets once."""
    write_records(postgres_database, 0)
    with closing(psycopg2.connect(postgres_database.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT roll_up_records(1000)")
        assert cursor.fetchone() == (25,)
    assert differences(postgres_database) == {}
    assert rollups.roll_up(postgres_database) == 25
    assert differences(postgres_database) == {}


def test_rollups_replayed_records_change_their_table(postgres_database: Database) -> None:
    """A record that leaves quarantine counts as its event, although its offset was rolled up before."""
    values = ["2026-02-14T00:09:20,1,GET /rate/film+1+1999=9", watch(1, 1), "nothing"]
    write_batch(postgres_database, batch(values), PARSER)
    with postgres_database.transaction() as cursor:  # As an older parser left it.
        cursor.execute('UPDATE quarantine SET raw = %s WHERE "offset" = 2', (watch(2, 3).encode(),))
    rollups.roll_up(postgres_database)
    quarantine.replay_records(postgres_database, quarantine.Selection(), EventParser(ZoneInfo("UTC"), LogScale(1, 10)))
    assert rows(postgres_database, "SELECT count(*) FROM watches") == [(2,)]
    assert differences(postgres_database) == {}
    rollups.roll_up(postgres_database)
    assert differences(postgres_database) == {}


def test_rollups_outlive_expired_rows(postgres_database: Database) -> None:
    """Retention rolls rows up before it deletes them; the views keep their counts, those of quarantine as well."""
    values = [watch(1, n, time="2025-02-14T00:09:20") for n in range(3)]
    write_batch(postgres_database, batch(values), PARSER)
    with postgres_database.transaction() as cursor:
        cursor.execute("UPDATE retention_terms SET keep = '50 years' WHERE table_name LIKE 'rollups.%'")
        cursor.execute("INSERT INTO quarantine VALUES ('2025-01-01Z', 1, 0, 9, 'unknown', '', '')")
    retention_terms.delete_expired_rows(postgres_database)
    assert rows(postgres_database, "SELECT count(*) FROM watches") == [(0,)]
    assert rows(postgres_database, "SELECT count(*) FROM quarantine") == [(0,)]
    assert rows(postgres_database, "SELECT sum(records)::int FROM watches_per_minute") == [(3,)]
    assert rows(postgres_database, "SELECT sum(records)::int FROM quarantine_per_minute") == [(1,)]


def test_rollups_impressions_are_merged(postgres_database: Database) -> None:
    """The parts of a minute become one row; a repeated delivery adds none."""
    at = rows(postgres_database, "SELECT TIMESTAMPTZ '2026-02-14 10:00:30Z'")[0][0]
    for number in (1, 2, 2):
        impression = Impression(
            f"i{number}", at, "1", "control", "v1", 1, "cohort", (ImpressionMovie("a+1", 1.0, 4.0, 1.0),)
        )
        write_impressions(postgres_database, ImpressionBatch(f"b{number}", (impression,)))
    assert rows(postgres_database, "SELECT impressions FROM impressions_per_minute") == [(2,)]
    rollups.roll_up(postgres_database)
    assert rows(postgres_database, "SELECT impressions, is_new FROM rollups.impressions_per_minute") == [(2, False)]
    assert differences(postgres_database) == {}


def test_roll_up_on_timescale_does_nothing(timescale_url: str) -> None:
    """Continuous aggregates need no roll-up."""
    with closing(Database(timescale_url, copies=False)) as database:
        assert rollups.roll_up(database) == 0


def test_view_with_new_records_reads_only_new_offsets(postgres_database: Database) -> None:
    """The plan has no scan of all watches, even for a small table."""
    write_records(postgres_database, 0)
    rollups.roll_up(postgres_database)
    write_records(postgres_database, 1_000)
    plan = rows(postgres_database, "EXPLAIN SELECT * FROM watches_per_minute WHERE time > now() - INTERVAL '1 day'")
    assert not [line for (line,) in plan if "Seq Scan on watches w" in line]
