"""Tests of the database behind a pooler with TLS, as a deployment's database_url has it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.functions.ingest import IngestProcess
from tests.servers.certificates import Authority
from tests.servers.pgbouncer import PASSWORD, PgBouncer, is_installed
from tests.support.records import batch, rate, rows, watch

from marquee.db import record_counts
from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.db.user_history import user_history
from marquee.errors import DatabaseUnavailable
from marquee.events.envelopes import encode_batch, to_http
from marquee.ingest.watch_sessions import SMALL_BATCH
from marquee.local.embedded_postgres import EmbeddedPostgres

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not is_installed(), reason="no PgBouncer on this machine (Debian: pgbouncer)"),
]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        yield server


@pytest.fixture
def pool(server: EmbeddedPostgres, authority: Authority) -> Iterator[PgBouncer]:
    """Provide a pooler with one server connection, which reveals any state left in a session."""
    with PgBouncer(server.url, server.app_password, authority, pool_size=1) as pool:
        yield pool


def test_pgbouncer_one_server_connection_serves_everything(
    pool: PgBouncer, authority: Authority, tmp_path: Path
) -> None:
    """Migrations, two instances of ``ingest`` under concurrent deliveries, and reads with deadlines all work.

    Each instance has two connections to the pooler, one a partition, and all of them share one to the server.
    """
    url = pool.url(sslmode="verify-full", sslrootcert=str(authority.certificate))
    migrate(url)
    functions = [IngestProcess(tmp_path / f"ingest-{number}.log", url) for number in range(2)]
    for function in functions:
        function.start()
    many = [watch(user, 3) for user in range(SMALL_BATCH)]
    events = [to_http(encode_batch(batch(many, n * SMALL_BATCH))) for n in range(2)]
    events += [to_http(encode_batch(batch([rate(7, 4), watch(7, n), "broken"], 3 * n, partition=1))) for n in range(20)]
    statuses: list[int] = []

    def deliver(function: IngestProcess, order: int) -> None:
        statuses.extend(function.post(body, headers) for headers, body in events[::order])

    # In both orders, so that each instance writes both partitions at one time.
    threads = [
        threading.Thread(target=deliver, args=(function, order)) for order in (1, -1, 1) for function in functions
    ]
    with closing(Database(url)) as database:
        for thread in threads:
            thread.start()
        for _ in range(50):
            database.read("SELECT 1", deadline_ms=5_000)
        for thread in threads:
            thread.join()
        history = user_history(database, "7", None, 5_000)
        counts = record_counts.count_records(database)
        clients = pool.clients()
        backends = rows(database, "SELECT count(*) FROM pg_stat_activity WHERE client_port > 0")
        assert rows(database, "SELECT count(*) FROM pg_prepared_statements") == [(0,)]
    for function in functions:
        function.process.stop()
    assert statuses == [204] * (6 * len(events))
    assert (counts.records, counts.quarantined) == (2 * SMALL_BATCH + 60, 20)
    assert (len(history.ratings), [movie.last_minute for movie in history.watched]) == (1, [19])
    assert backends == [(1,)]
    # Two of each function, and two of this test: for transactions and for reads.
    assert clients == ["marquee"] * (2 * len(functions) + 2)


def test_pgbouncer_wrong_tls_is_refused_without_password(pool: PgBouncer, tmp_path: Path) -> None:
    """Without TLS the pooler refuses; with another authority the client does; neither names the password."""
    other = Authority(tmp_path, "other").certificate
    for options, reason in (
        ({"sslmode": "disable"}, "SSL required"),
        ({"sslmode": "verify-full", "sslrootcert": str(other)}, "certificate verify failed"),
    ):
        with closing(Database(pool.url(**options))) as database:
            with pytest.raises(DatabaseUnavailable, match=reason) as caught:
                rows(database, "SELECT 1")
            assert PASSWORD not in f"{caught.value} {caught.value.__cause__} {database!r}"
