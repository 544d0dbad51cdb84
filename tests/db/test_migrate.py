"""Tests of migrations: forward only, each number a transaction, one schema on both kinds of database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from tests.support.records import rows

from marquee.db.migrate import DIALECTS, MIGRATIONS, load_migrations, migrate
from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable, MigrationError

SCHEMA = Path(__file__).with_name("schema.txt")

_COLUMNS = """
SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
  AND a.attnum > 0 AND NOT a.attisdropped
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
GROUP BY 1 ORDER BY 1"""

_KEYS = """
SELECT c.relname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE c.relnamespace = 'public'::regnamespace AND k.contype IN ('p', 'u')
ORDER BY 1, 2"""


def schema_dump(url: str) -> str:
    """Return tables and views with their columns, then the keys, one per line."""
    with closing(Database(url)) as database:
        return "".join(f"{name}: {text}\n" for name, text in rows(database, _COLUMNS) + rows(database, _KEYS))


def table_names(url: str) -> list[str]:
    """Return the names of the tables and views, in order."""
    with closing(Database(url)) as database:
        return [str(name) for name, _ in rows(database, _COLUMNS)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with two migrations."""
    (tmp_path / "0001_movies.sql").write_text("CREATE TABLE movies (movie_id text);")
    (tmp_path / "0002_seen.sql").write_text("CREATE TABLE seen (user_id text);")
    return tmp_path


def test_migrate_schema_equals_schema_txt(url: str) -> None:
    """Both kinds of database have these tables, views, columns and keys.

    After a migration that changes them, copy the dump that this test shows into schema.txt.
    """
    assert schema_dump(url) == SCHEMA.read_text()


def test_migrate_applies_files_in_order_once(empty: str, kind: str) -> None:
    """A second call applies nothing."""
    expected = [name for migration in load_migrations(MIGRATIONS, kind) for name in migration.files]
    assert migrate(empty) == expected
    assert migrate(empty) == []


def test_migrations_each_number_has_one_name_on_both_kinds() -> None:
    """Each number has one name, and exists for both kinds of database."""
    numbers = [{migration.number for migration in load_migrations(MIGRATIONS, dialect)} for dialect in DIALECTS]
    assert numbers[0] == numbers[1]
    names = {path.name.split(".")[0] for path in MIGRATIONS.glob("*.sql")}
    assert len(names) == len(numbers[0])


def test_migrate_applies_only_new_files(empty: str, directory: Path) -> None:
    """Files that are recorded are skipped."""
    migrate(empty, directory)
    (directory / "0003_more.sql").write_text("ALTER TABLE movies ADD COLUMN title text")
    assert migrate(empty, directory) == ["0003_more.sql"]


def test_migrate_failing_file_leaves_nothing_behind(empty: str, directory: Path) -> None:
    """Neither its first half nor a record stays; earlier files stay, and a fixed file is applied."""
    bad = directory / "0003_bad.sql"
    bad.write_text("CREATE TABLE half (a int); SELECT 1 / 0;")
    with pytest.raises(MigrationError, match=r"0003_bad\.sql failed and left nothing behind: division by zero"):
        migrate(empty, directory)
    assert table_names(empty) == ["migrations", "movies", "seen"]
    bad.write_text("CREATE TABLE half (a int);")
    assert migrate(empty, directory) == ["0003_bad.sql"]


def test_migrate_number_is_one_transaction(empty: str, kind: str, directory: Path) -> None:
    """If the second file of a number fails, the first is rolled back."""
    (directory / "0003_both.sql").write_text("CREATE TABLE half (a int)")
    (directory / f"0003_both.{kind}.sql").write_text("SELEKT")
    with pytest.raises(MigrationError, match=rf"0003_both\.{kind}\.sql failed"):
        migrate(empty, directory)
    assert "half" not in table_names(empty)


def test_migrate_statement_outside_transaction_raises(empty: str, directory: Path) -> None:
    """VACUUM cannot run in a transaction."""
    (directory / "0003_bad.sql").write_text("VACUUM movies")
    with pytest.raises(MigrationError, match=r"0003_bad\.sql failed.*VACUUM"):
        migrate(empty, directory)


def test_migrate_changed_file_raises_and_names_it(empty: str, directory: Path) -> None:
    """The message says which file was changed and what to do."""
    migrate(empty, directory)
    (directory / "0001_movies.sql").write_text("CREATE TABLE movies (movie_id text, title text);")
    with pytest.raises(MigrationError, match=r"0001_movies\.sql was changed after it was applied"):
        migrate(empty, directory)


def test_migrate_newer_database_warns_and_changes_nothing(
    empty: str, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Code can be rolled back across a migration; the warning names the newer file."""
    migrate(empty, directory)
    (directory / "0002_seen.sql").unlink()
    assert migrate(empty, directory) == []
    assert "0002_seen.sql" in caplog.text


def test_migrate_unknown_file_below_the_highest_raises(empty: str, directory: Path) -> None:
    """A database of another branch is not that of a newer version."""
    migrate(empty, directory)
    (directory / "0002_seen.sql").unlink()
    (directory / "0003_other.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match=r"has 0002_seen\.sql, which this version"):
        migrate(empty, directory)


def test_migrate_number_below_last_raises(empty: str, directory: Path) -> None:
    """If two branches add a migration, the later one needs a higher number."""
    (directory / "0002_seen.sql").rename(directory / "0003_seen.sql")
    migrate(empty, directory)
    (directory / "0002_late.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match=r"0002_late\.sql came after number 0003"):
        migrate(empty, directory)


def test_load_misnamed_file_raises(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "3_movies.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match=r"3_movies\.sql is not a migration"):
        load_migrations(tmp_path, "postgresql")


@pytest.mark.servers
def test_migrate_concurrent_calls_apply_each_file_once(empty_url: str) -> None:
    """One works, and the others wait."""
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate(empty_url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [name for names in applied for name in names]
    assert sorted(names) == sorted(name for m in load_migrations(MIGRATIONS, "postgresql") for name in m.files)


def test_migrate_no_database_raises_unavailable() -> None:
    """A missing server is transient, and the password is not in the message."""
    with pytest.raises(DatabaseUnavailable, match="No connection to") as caught:
        migrate("postgresql://app:secret@127.0.0.1:1/marquee")
    assert "secret" not in str(caught.value)


@pytest.fixture
def cursor(timescale_url: str) -> Iterator[psycopg2.extensions.cursor]:
    with closing(psycopg2.connect(timescale_url)) as connection, connection.cursor() as cursor:
        yield cursor


@pytest.mark.servers
def test_migrate_timescale_has_retention_and_columnstore_policies(cursor: psycopg2.extensions.cursor) -> None:
    """Raw rows are compressed and later dropped."""
    cursor.execute(
        "SELECT hypertable_name, proc_name, coalesce(config->>'drop_after', config->>'compress_after') "
        "FROM timescaledb_information.jobs WHERE proc_name IN ('policy_retention', 'policy_compression') "
        "ORDER BY 1, 2"
    )
    assert cursor.fetchall() == [
        ("availability", "policy_retention", "400 days"),
        ("experiment_decisions", "policy_retention", "400 days"),
        ("experiment_hours", "policy_retention", "180 days"),
        ("experiment_looks", "policy_retention", "400 days"),
        ("experiment_pairs", "policy_retention", "180 days"),
        ("impression_outcomes", "policy_retention", "400 days"),
        ("impressions", "policy_compression", "14 days"),
        ("impressions", "policy_retention", "180 days"),
        ("live_accuracy", "policy_retention", "400 days"),
        ("live_fairness", "policy_retention", "400 days"),
        ("predictions", "policy_compression", "14 days"),
        ("predictions", "policy_retention", "180 days"),
        ("quality_checks", "policy_retention", "400 days"),
        ("quarantine", "policy_retention", "180 days"),
        ("ratings", "policy_retention", "1095 days"),
        ("recommendation_requests", "policy_compression", "14 days"),
        ("recommendation_requests", "policy_retention", "90 days"),
        ("watches", "policy_compression", "12:00:00"),
        ("watches", "policy_retention", "7 days"),
    ]


@pytest.mark.servers
def test_migrate_timescale_watches_have_block_range_index_and_short_chunks(
    cursor: psycopg2.extensions.cursor,
) -> None:
    """A query over minutes does not read the whole chunk."""
    cursor.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname = 'watches_by_time'")
    ((definition,),) = cursor.fetchall()
    assert "USING brin" in definition
    assert "pages_per_range='32'" in definition
    cursor.execute(
        "SELECT time_interval::text FROM timescaledb_information.dimensions WHERE hypertable_name = 'watches'"
    )
    assert cursor.fetchall() == [("06:00:00",)]


@pytest.mark.servers
def test_migrate_timescale_aggregates_are_real_time_and_refreshed(cursor: psycopg2.extensions.cursor) -> None:
    """No refresh window reaches back to rows that retention has dropped."""
    cursor.execute("SELECT view_name, materialized_only FROM timescaledb_information.continuous_aggregates ORDER BY 1")
    views = dict(cursor.fetchall())
    assert set(views.values()) == {False}
    cursor.execute(
        "SELECT a.view_name, r.config IS NULL OR "
        "  (p.config->>'start_offset')::interval < (r.config->>'drop_after')::interval "
        "FROM timescaledb_information.continuous_aggregates a "
        "JOIN timescaledb_information.jobs p ON p.proc_name = 'policy_refresh_continuous_aggregate' "
        "  AND p.hypertable_name IN (a.view_name, a.materialization_hypertable_name) "
        "LEFT JOIN timescaledb_information.jobs r "
        "  ON r.hypertable_name = a.hypertable_name AND r.proc_name = 'policy_retention'"
    )
    assert dict(cursor.fetchall()) == dict.fromkeys(views, True)
