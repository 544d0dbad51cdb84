"""Roles of the parts: each role does what its part does, and is refused the rest.

Runs on plain PostgreSQL only: the TimescaleDB of the tests has one backend and one role. `test_migrate.py` applies the
migration to both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.grafana.good_day import write_good_day
from tests.support.logins import execute_as_admin, url_as
from tests.support.records import account, ask, batch, rate, rows, watch

from marquee.config.settings import Settings
from marquee.data.sources import read_database
from marquee.db import rollups
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader, set_profiling
from marquee.db.retrain_queue import claim, pending, request_retrain
from marquee.db.retrain_runs import RetrainRun, latest_runs, record_run
from marquee.db.user_history import popular_movies, user_history
from marquee.errors import DatabaseRefused
from marquee.events.batches import Impression, ImpressionBatch, ImpressionMovie
from marquee.events.parser import EventParser
from marquee.ingest.retention_terms import aggregate_remaining, delete_expired_rows
from marquee.ingest.store import store_rejected, write_batch, write_impressions
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.monitoring.alerts.evaluate import NO_DATA, evaluate_rule
from marquee.monitoring.alerts.rules_file import read_rules
from marquee.monitoring.app_outcome_hours import update_outcome_hours
from marquee.monitoring.run import run_monitor
from marquee.monitoring.tasks import create_tasks
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers
NOW = datetime.now(UTC)
ROOT = Path(__file__).parents[2]
ROLES = ("app", "ingest", "events", "recommend", "monitor", "retrain", "retention", "grafana")
OWNER_ONLY = {"forget_requests", "migrations", "retention_terms", "role_grants"}

Login = Callable[[str], Database]

_CREATE_LOGIN = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'login_{part}') THEN
        CREATE ROLE login_{part} LOGIN PASSWORD 'secret' IN ROLE marquee_{part};
    END IF;
END
$$"""

_GRANTED = """
SELECT c.relname, array_agg(r.rolname::text ORDER BY 1) FILTER (WHERE has_any_column_privilege(r.oid, c.oid, p.name))
FROM pg_class AS c CROSS JOIN pg_roles AS r CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS p (name)
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND r.rolname = ANY (%s) GROUP BY 1"""


@pytest.fixture
def login(plain_database: Database, postgres: EmbeddedPostgres) -> Iterator[Login]:
    """Yield a function that connects to the database as a member of a part's role."""
    with ExitStack() as stack:

        def connect(part: str) -> Database:
            execute_as_admin(postgres, _CREATE_LOGIN.format(part=part))
            return stack.enter_context(closing(Database(url_as(plain_database.url, f"login_{part}"), connections=2)))

        yield connect


def is_refused(database: Database, statement: str) -> bool:
    """Return True if the server answers a statement with "permission denied"."""
    try:
        with database.transaction() as cursor:
            cursor.execute(statement)
    except DatabaseRefused as error:
        return "permission denied" in str(error)
    return False


def allowed(database: Database, *statements: str) -> list[str]:
    """Return the statements that are not refused."""
    return [statement for statement in statements if not is_refused(database, statement)]


def test_roles_every_table_and_view_is_granted_or_owner_only(plain_database: Database) -> None:
    """A new table or view fails here until its rows of `role_grants` or its place in OWNER_ONLY are decided."""
    granted = dict(rows(plain_database, _GRANTED, [f"marquee_{part}" for part in ROLES]))
    assert {name for name, roles in granted.items() if not roles} == OWNER_ONLY
    assert not {name for name, roles in granted.items() if roles and "marquee_monitor" not in roles}
    assert rows(plain_database, "SELECT DISTINCT role_name FROM role_grants ORDER BY 1") == [
        (f"marquee_{part}",) for part in sorted(ROLES)
    ]


def test_roles_everyone_else_is_refused(plain_database: Database) -> None:
    """PUBLIC may use no table, and no function but the constant ``rating_step()``."""
    query = """
    SELECT n.nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace,
           aclexplode(relacl) AS a WHERE n.nspname IN ('public', 'rollups') AND a.grantee = 0
    UNION ALL
    SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace,
           aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a
    WHERE n.nspname IN ('public', 'rollups') AND a.grantee = 0"""
    assert rows(plain_database, query) == [("rating_step()",)]


def test_ingest_role_writes_records_and_reads_no_accounts(login: Login, parser: EventParser) -> None:
    """Batches (new, repeated, aggregated), impressions and rejected events are written."""
    database = login("ingest")
    lines = [watch(1, 0), watch(1, 1), rate(1, 4), ask(1, 200, "heat+1995"), account(3), "malformed"]
    assert write_batch(database, batch(lines), parser).records == 6
    assert write_batch(database, batch([*lines, watch(1, 2)]), parser).records == 1
    movie = ImpressionMovie("heat+1995", 1.0, 4.0, 1.0)
    shown = Impression("i1", NOW, "1", "control", "v1", 1, "cohort", (movie,))
    assert write_impressions(database, ImpressionBatch("b", (shown,)))["impressions"] == 1
    for _ in range(2):
        store_rejected(database, "no", {}, b"{}")
    assert (
        allowed(
            database,
            "SELECT user_id FROM accounts",
            "SELECT user_id FROM ratings",
            "SELECT body FROM rejected_events",
            "SELECT FROM impressions",
            "DELETE FROM watches",
            "UPDATE ratings SET rating = 5",
            "INSERT INTO predictions DEFAULT VALUES",
            "UPDATE retention_terms SET keep = '1 day'",
            "SELECT FROM rollups.watches_per_minute",
            "SELECT delete_expired_rows()",
            "SELECT grant_privileges()",
            "CREATE TABLE other (a int)",
        )
        == []
    )


def test_recommend_role_reads_histories_and_writes_nothing(
    login: Login, plain_database: Database, parser: EventParser
) -> None:
    """The queries of an answer work."""
    write_batch(plain_database, batch([rate(1, 4), watch(1, 3)]), parser)
    database = login("recommend")
    history = user_history(database, "1", None, 5_000)
    assert (len(history.ratings), len(history.watched)) == (1, 1)
    assert len(popular_movies(database, 10)) == 1
    assert (
        allowed(
            database,
            "INSERT INTO ratings SELECT * FROM ratings",
            "DELETE FROM watch_sessions",
            "UPDATE popular_movies SET log_score = 0",
            "SELECT user_id FROM accounts",
            "SELECT raw FROM quarantine",
            "SELECT FROM impressions",
            "SELECT roll_up_records(1)",
            "CREATE TABLE other (a int)",
        )
        == []
    )


def test_monitor_role_runs_every_task_and_changes_no_record(
    login: Login, plain_database: Database, tmp_path: Path
) -> None:
    """All tasks succeed twice on a day of records, and a retraining can be requested."""
    end = write_good_day(plain_database)
    database, store = login("monitor"), FileStore(tmp_path)
    tasks = create_tasks(store, Settings())
    for now in (end, end + timedelta(minutes=10)):
        summary = run_monitor(database, store, tasks, clock=lambda now=now: now)  # type: ignore[misc]
        assert [(result.task, result.error) for result in summary.tasks if result.error] == []
    assert rows(database, "SELECT count(*) FROM attribution_queue") == [(0,)]
    assert rows(database, "SELECT count(*) > 0 FROM popular_movies") == [(True,)]
    with plain_database.transaction() as cursor:
        cursor.execute("INSERT INTO app_outcome_changes SELECT max(time) FROM app_outcome_hours")
        cursor.execute("DELETE FROM retrain_requests")
    assert update_outcome_hours(database) > 0
    assert request_retrain(database, "drift", "v1", "ratings drift", end)
    assert (
        allowed(
            database,
            "DELETE FROM ratings",
            "UPDATE watch_sessions SET last_minute = 0",
            "INSERT INTO accounts SELECT * FROM accounts",
            "DELETE FROM quarantine",
            "UPDATE written_offsets SET written = '{}'",
            "UPDATE retrain_requests SET claimed = now(), run = 'r'",
            "INSERT INTO retrain_runs SELECT * FROM retrain_runs",
            "SELECT FROM migrations",
            "SELECT delete_expired_rows()",
        )
        == []
    )


def test_retrain_role_reads_ratings_and_records_its_run(
    login: Login, plain_database: Database, parser: EventParser
) -> None:
    """It reads the training data, claims requests and records its runs."""
    write_batch(plain_database, batch([rate(1, 4), watch(1, 3)]), parser)
    request_retrain(plain_database, "drift", "v1", "ratings drift", NOW)
    database = login("retrain")
    data = read_database(database, NOW)
    assert (len(data.ratings), len(data.watch_sessions)) == (1, 1)
    assert pending(database, NOW) == ["ratings drift"]
    assert claim(database, "r1", NOW) == ["ratings drift"]
    for outcome in ("failed", "released"):
        record_run(database, RetrainRun("r1", NOW, NOW, None, None, outcome, "test"))
    assert [run.outcome for run in latest_runs(database)] == ["released"]
    assert (
        allowed(
            database,
            "DELETE FROM retrain_runs",
            "DELETE FROM retrain_requests",
            "UPDATE retrain_requests SET reason = ''",
            "INSERT INTO retrain_requests (reason) VALUES ('r')",
            "UPDATE ratings SET rating = 5",
            "SELECT FROM accounts",
            "SELECT FROM recommendation_requests",
        )
        == []
    )


def test_retention_role_deletes_only_what_has_expired(
    login: Login, plain_database: Database, parser: EventParser
) -> None:
    """Expired watches go, after they were aggregated; others stay, and the role may delete no row itself."""
    now = f"{NOW - timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}"
    write_batch(plain_database, batch([watch(1, 3), watch(2, 3, time=now)]), parser)
    with plain_database.transaction() as cursor:
        cursor.execute("UPDATE written_offsets SET unaggregated = written")
        cursor.execute("DELETE FROM watch_sessions WHERE user_id = '1'")
    database = login("retention")
    assert aggregate_remaining(database) == 2
    delete_expired_rows(database)
    assert rows(plain_database, "SELECT user_id FROM watches") == [("2",)]
    assert rows(plain_database, "SELECT user_id FROM watch_sessions ORDER BY 1") == [("1",), ("2",)]
    assert rollups.roll_up(database) == 0
    assert (
        allowed(
            database,
            "DELETE FROM watches",
            "DELETE FROM quarantine",
            "UPDATE retention_terms SET keep = '0 days'",
            "INSERT INTO retention_terms VALUES ('ratings', 'time', '0 days')",
            "SELECT FROM ratings",
            "SELECT FROM accounts",
        )
        == []
    )


def test_app_role_marks_accounts_and_reads_nothing_else(login: Login) -> None:
    """The app turns the profiling of an account off and on; it sees no row of a user."""
    database = login("app")
    set_profiling(database, "k" * 32, "42", allowed=False)
    assert MarkReader("k" * 32).read(database).holds("42")
    set_profiling(database, "k" * 32, "42", allowed=True)
    assert not MarkReader("k" * 32).read(database).holds("42")
    tables = ("ratings", "watches", "accounts", "impressions", "app_outcomes", "forget_requests")
    assert allowed(database, *(f"SELECT FROM {name}" for name in tables)) == []
    assert allowed(database, "UPDATE privacy_marks SET mark = 'other'", "DELETE FROM ratings") == []


def test_grafana_role_only_reads(login: Login) -> None:
    """`tests/grafana` runs every panel as a member; it can write nothing."""
    database = login("grafana")
    assert rows(database, "SELECT * FROM records_per_minute") == []
    rules = [rule for group in read_rules(ROOT / "dashboards/alerts.yaml") for rule in group.rules]
    assert {evaluate_rule(database, rule, NOW).problem for rule in rules} <= {"", NO_DATA}
    tables = [name for (name,) in rows(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert len(tables) > 20
    assert (
        allowed(
            database,
            *(f"DELETE FROM {name}" for name in tables),
            *(f"INSERT INTO {name} DEFAULT VALUES" for name in tables),
            *(f"TRUNCATE {name}" for name in tables),
            "SELECT FROM accounts",
            "SELECT FROM watch_sessions",
            "SELECT roll_up_records(1)",
            "SELECT delete_expired_rows()",
            "CREATE TABLE other (a int)",
        )
        == []
    )
