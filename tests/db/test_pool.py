"""Tests of the connection pool: few connections, none lost, and errors that say whether to retry."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.errors import DatabaseBusy, DatabaseRefused, DatabaseUnavailable, DataRefused
from marquee.local.embedded_postgres import EmbeddedPostgres

pytestmark = pytest.mark.servers


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """Provide a server that the test may stop and start."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        yield server


def count_sessions(database: Database) -> int:
    """Return the number of Marquee's count_sessions."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    return int(str(rows(database, query, "marquee")[0][0]))


def test_database_constructor_does_not_connect() -> None:
    """A database that is created at import cannot fail there, and forks do not share it."""
    database = Database("postgresql://app:secret@127.0.0.1:1/nowhere")
    assert repr(database) == "Database('postgresql://app:***@127.0.0.1:1/nowhere')"


def test_transaction_exception_rolls_back(database: Database) -> None:
    """A table that was created before the exception does not exist afterwards."""
    with pytest.raises(ZeroDivisionError):
        _create_and_fail(database)
    assert rows(database, "SELECT to_regclass('half')") == [(None,)]


def _create_and_fail(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("CREATE TABLE half (a int)")
        raise ZeroDivisionError


def test_transaction_threads_share_one_connection(database: Database) -> None:
    """Any number of threads uses one session."""
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(count_sessions(database))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 8


def test_transaction_without_free_connection_raises_unavailable(database_url: str) -> None:
    """The thread waits ``wait_s`` seconds first."""
    with closing(Database(database_url, wait_s=0.05)) as database, database.transaction():  # noqa: SIM117
        with pytest.raises(DatabaseUnavailable, match="All 1 connections were in use"):
            rows(database, "SELECT 1")


def backends(database: Database) -> list[object]:
    """Return the server processes of the transactions and of the reads."""
    query = "SELECT pg_backend_pid()"
    return [rows(database, query)[0][0], database.read(query, deadline_ms=5_000)[0][0]]


def test_fork_child_has_connections_of_its_own(database: Database) -> None:
    """The child leaves the parent's sessions alone, and the parent continues to use them."""
    mine = backends(database)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"other" if not set(backends(database)) & set(mine) else b"same")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"other"
    assert backends(database) == mine


def test_transaction_after_server_restart_reconnects(own_server: EmbeddedPostgres) -> None:
    """A connection that ended while idle is replaced before it is used."""
    with closing(Database(own_server.url)) as database:
        assert rows(database, "SELECT 1") == database.read("SELECT 1", deadline_ms=5_000) == [(1,)]
        own_server.kill()
        with pytest.raises(DatabaseUnavailable):
            rows(database, "SELECT 1")
        with pytest.raises(DatabaseUnavailable):
            database.read("SELECT 1", deadline_ms=5_000)
        own_server.start()
        assert rows(database, "SELECT 1") == database.read("SELECT 1", deadline_ms=5_000) == [(1,)]


def test_transaction_with_terminated_session_raises_unavailable(database: Database, database_url: str) -> None:
    """The next transaction opens a new connection."""
    with pytest.raises(DatabaseUnavailable), database.transaction() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert rows(database, "SELECT 1") == [(1,)]


def test_transaction_errors_distinguish_permanent_from_transient(database: Database) -> None:
    """A bad value, a missing table and a timeout raise different errors."""
    with pytest.raises(DataRefused), database.transaction() as cursor:
        cursor.execute("SELECT 'x'::int")
    too_long = "INSERT INTO watch_sessions SELECT string_agg(md5(n::text), ''), '', now(), now(), 0, 0 "
    with pytest.raises(DataRefused), database.transaction() as cursor:
        cursor.execute(too_long + "FROM generate_series(1, 999) n")
    with pytest.raises(DatabaseRefused, match="marquee migrate") as caught, database.transaction() as cursor:
        cursor.execute("SELECT * FROM missing")
    assert not isinstance(caught.value, DataRefused)
    with pytest.raises(DatabaseUnavailable), database.transaction(deadline_ms=20) as cursor:
        cursor.execute("SELECT pg_sleep(10)")


def test_transaction_leaves_no_state_in_session(database: Database) -> None:
    """PgBouncer in transaction mode may give each transaction another session."""
    with database.transaction(deadline_ms=1234) as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("1234ms",)
    assert database.read("SHOW statement_timeout", deadline_ms=4321) == [("4321ms",)]
    query = "SELECT count(*) FROM pg_prepared_statements"
    assert rows(database, query) == [(0,)]
    connection = database._idle[0]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
        )
        assert cursor.fetchone() == ("0", "0")


def test_read_slow_query_raises_after_deadline(database: Database) -> None:
    """The connection works afterwards."""
    with pytest.raises(DatabaseUnavailable):
        database.read("SELECT pg_sleep(10)", deadline_ms=50)
    assert database.read("SELECT %s", (7,), deadline_ms=5_000) == [(7,)]


def test_read_from_hanging_server_raises_after_deadline(own_server: EmbeddedPostgres) -> None:
    """A stopped server accepts packets and answers none."""
    with closing(Database(own_server.url)) as database:
        database.read("SELECT 1", deadline_ms=5_000)
        assert own_server.pid is not None
        family = [psutil.Process(own_server.pid), *psutil.Process(own_server.pid).children()]
        _signal_all(family, signal.SIGSTOP)
        try:
            for _ in range(3):  # The query in flight, then new connections.
                with pytest.raises(DatabaseUnavailable, match="did not answer within 40 ms"):
                    database.read("SELECT 1", deadline_ms=40)
        finally:
            _signal_all(family, signal.SIGCONT)
        assert database.read("SELECT 1", deadline_ms=5_000) == [(1,)]


def _signal_all(processes: Iterable[psutil.Process], signal_number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # A worker such as autovacuum's may have ended.
            process.send_signal(signal_number)


def test_read_connecting_continues_beyond_one_deadline(database_url: str) -> None:
    """If connecting takes longer than a deadline, as with TLS to another region, a later read succeeds."""
    with closing(Database(database_url)) as database:
        outcomes = []
        for _ in range(200):
            try:
                outcomes.append(database.read("SELECT 1", deadline_ms=1))
                break
            except DatabaseUnavailable:
                time.sleep(0.01)
        assert outcomes == [[(1,)]]


def test_read_from_silent_port_raises_after_deadline() -> None:
    """A listener that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with closing(Database(f"postgresql://app@127.0.0.1:{port}/x")) as database:
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable, match="connecting took longer"):
                    database.read("SELECT 1", deadline_ms=30)


def test_read_with_several_readers_uses_no_more_connections_than_needed(database_url: str) -> None:
    """One after the other they share one; at the same time each has its own, up to the maximum."""
    with closing(Database(database_url, readers=2)) as database:
        pids = {database.read("SELECT pg_backend_pid()", deadline_ms=5_000)[0][0] for _ in range(5)}
        assert len(pids) == 1
        results: list[object] = []

        def read() -> None:
            try:
                results.append(database.read("SELECT pg_backend_pid() FROM pg_sleep(0.5)", deadline_ms=2_000)[0][0])
            except DatabaseUnavailable as error:
                results.append(error)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        with pytest.raises(DatabaseBusy, match="within 50 ms: other reads were running"):
            database.read("SELECT 1", deadline_ms=50)
        for thread in threads:
            thread.join()
        assert len(set(results)) == 2
        assert all(isinstance(result, int) for result in results)


@pytest.mark.parametrize(
    ("zone", "time"), [("America/New_York", "0001-01-01T00:00Z"), ("Asia/Kolkata", "9999-12-31T23:59Z")]
)
def test_read_times_at_the_ends_of_the_calendar_come_in_utc(
    database_url: str, database: Database, zone: str, time: str
) -> None:
    """The database's zone would move them to the years 0 and 10000, which Python does not have."""
    with database.transaction() as cursor:
        cursor.execute("SELECT current_database()")
        cursor.execute(f"ALTER DATABASE \"{cursor.fetchone()[0]}\" SET TimeZone = '{zone}'")
    with closing(Database(database_url)) as other:
        ((found,),) = other.read("SELECT %s::timestamptz", (time,), deadline_ms=5_000)
    assert found == datetime.fromisoformat(time)


def test_read_value_beyond_python_is_refused(database: Database) -> None:
    """The error is one of ours, and the next read works."""
    with pytest.raises(DataRefused, match="value that Python cannot hold"):
        database.read("SELECT '10000-01-01T00:00Z'::timestamptz", deadline_ms=5_000)
    assert database.read("SELECT 1", deadline_ms=5_000) == [(1,)]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_read_ends_of_the_calendar_raise_no_driver_error(plain_database: Database, zone: str) -> None:
    """A role's time zone does not move a time out of what psycopg2 represents, nor its encoding a sign."""
    with plain_database.transaction() as cursor:
        cursor.execute("SELECT current_database()")
        (name,) = cursor.fetchone()
        cursor.execute(f"ALTER DATABASE {name} SET timezone = '{zone}'")
        cursor.execute(f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'")
    query = "SELECT '0001-01-01 00:00Z'::timestamptz, '9999-12-31 23:59Z'::timestamptz, 'a€'"
    expected = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "a€")
    with closing(Database(plain_database.url)) as database:
        assert database.read(query, deadline_ms=5_000) == [expected]
        with database.transaction() as cursor:
            cursor.execute(query)
            assert cursor.fetchone() == expected


@pytest.mark.parametrize("answer", [b"\x99" * 500, b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["bytes", "http"])
def test_server_of_another_protocol_is_a_database_away(answer: bytes) -> None:
    """A port that another program took is as good as no database: the request is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reply() -> None:
            for _ in range(2):
                peer, _ = listener.accept()
                with peer:
                    peer.recv(1_000)
                    peer.sendall(answer)

        threading.Thread(target=reply, daemon=True).start()
        url = f"postgresql://app:secret@127.0.0.1:{listener.getsockname()[1]}/none?sslmode=disable"
        with closing(Database(url, connect_timeout_s=2)) as database:
            with pytest.raises(DatabaseUnavailable):
                database.read("SELECT 1", deadline_ms=5_000)
            with pytest.raises(DatabaseUnavailable), database.transaction():
                pass


def test_keyed_lock_forgets_keys_that_are_free() -> None:
    """The locks do not grow with the number of keys, and two threads with one key still exclude each other."""
    with closing(Database("postgresql://127.0.0.1:1/none", wait_s=0.05)) as database:
        for key in range(1_000):
            with database.keyed_lock("topic", key), database.keyed_lock("other", key):
                assert database.held_keys == 2
        assert database.held_keys == 0
        with (
            database.keyed_lock("topic", 1),
            pytest.raises(DatabaseUnavailable),
            database.keyed_lock("topic", 1),
        ):
            pass
