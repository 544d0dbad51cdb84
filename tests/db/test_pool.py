"""The way to the database: few connections, none lost, and errors that say whether to try again."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, DatabaseUnavailable, DataRefused
from marquee.local.embedded_postgres import EmbeddedPostgres

pytestmark = pytest.mark.servers


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that this test may end and start again."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        yield server


def sessions(database: Database) -> int:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    )
    return int(str(rows(database, query, "marquee")[0][0]))


def test_nothing_is_connected_before_it_is_needed() -> None:
    """A database that is made at import cannot fail there, and is not shared by forks."""
    database = Database("postgresql://app:secret@127.0.0.1:1/nowhere")
    assert repr(database) == "Database('postgresql://app:***@127.0.0.1:1/nowhere')"


def test_exception_rolls_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        _create_and_fail(database)
    assert rows(database, "SELECT to_regclass('half')") == [(None,)]


def _create_and_fail(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("CREATE TABLE half (a int)")
        raise ZeroDivisionError


def test_threads_take_turns_on_one_connection(database: Database) -> None:
    """However many threads there are, this process has one session."""
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(sessions(database))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 8


def test_no_free_connection_is_transient(database_url: str) -> None:
    with closing(Database(database_url, wait_s=0.05)) as database, database.transaction():  # noqa: SIM117
        with pytest.raises(DatabaseUnavailable, match="All 1 connections were in use"):
            rows(database, "SELECT 1")


def backends(database: Database) -> list[object]:
    """The server's processes behind our transactions and behind our reads."""
    query = "SELECT pg_backend_pid()"
    return [rows(database, query)[0][0], database.read(query, deadline_ms=5_000)[0][0]]


def test_a_fork_has_connections_of_its_own(database: Database) -> None:
    """The child leaves the parent's sessions alone, and the parent goes on using them."""
    mine = backends(database)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"other" if not set(backends(database)) & set(mine) else b"same")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"other"
    assert backends(database) == mine


def test_restarted_server_is_found_again(own_server: EmbeddedPostgres) -> None:
    """A connection that ended while it was idle is replaced before it is used."""
    with closing(Database(own_server.url)) as database:
        assert rows(database, "SELECT 1") == database.read("SELECT 1", deadline_ms=5_000) == [(1,)]
        own_server.kill()
        with pytest.raises(DatabaseUnavailable):
            rows(database, "SELECT 1")
        with pytest.raises(DatabaseUnavailable):
            database.read("SELECT 1", deadline_ms=5_000)
        own_server.start()
        assert rows(database, "SELECT 1") == database.read("SELECT 1", deadline_ms=5_000) == [(1,)]


def test_session_ended_in_mid_transaction_is_transient(database: Database, database_url: str) -> None:
    with pytest.raises(DatabaseUnavailable), database.transaction() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert rows(database, "SELECT 1") == [(1,)]


def test_refusals_are_told_from_faults(database: Database) -> None:
    """What a value is to blame for, what a missing table is, and what may pass."""
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


def test_nothing_stays_in_the_session(database: Database) -> None:
    """PgBouncer in transaction mode hands each transaction to any session: none may leave a trace."""
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


def test_read_is_bounded_by_the_server(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        database.read("SELECT pg_sleep(10)", deadline_ms=50)
    assert database.read("SELECT %s", (7,), deadline_ms=5_000) == [(7,)]


def test_read_is_bounded_where_the_server_hangs(own_server: EmbeddedPostgres) -> None:
    """A server that is stopped takes packets and answers none: the deadline holds all the same."""
    with closing(Database(own_server.url)) as database:
        database.read("SELECT 1", deadline_ms=5_000)
        assert own_server.pid is not None
        family = [psutil.Process(own_server.pid), *psutil.Process(own_server.pid).children()]
        for process in family:
            process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(3):  # The query in flight, then connecting anew.
                with pytest.raises(DatabaseUnavailable, match="did not answer within 40 ms"):
                    database.read("SELECT 1", deadline_ms=40)
        finally:
            for process in family:
                process.send_signal(signal.SIGCONT)
        assert database.read("SELECT 1", deadline_ms=5_000) == [(1,)]


def test_connecting_goes_on_beyond_one_deadline(database_url: str) -> None:
    """Where connecting takes longer than a deadline, as TLS to another region does, a later read gets through."""
    with closing(Database(database_url)) as database:
        outcomes = []
        for _ in range(200):
            try:
                outcomes.append(database.read("SELECT 1", deadline_ms=1))
                break
            except DatabaseUnavailable:
                time.sleep(0.01)
        assert outcomes == [[(1,)]]


def test_nobody_answers_the_port() -> None:
    """A listener that says nothing: reads end at their deadline."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with closing(Database(f"postgresql://app@127.0.0.1:{port}/x")) as database:
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable, match="connecting took longer"):
                    database.read("SELECT 1", deadline_ms=30)
