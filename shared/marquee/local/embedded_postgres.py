"""An embedded PostgreSQL server from a package, on one directory and one port of 127.0.0.1."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import sql

from marquee.config.needs import DATABASE_PARTS
from marquee.db.logins import login_name, set_logins
from marquee.local.postgres_cluster import ADMIN, APP, PostgresCluster
from marquee.local.process import Process, ProcessFailed, free_port

# Backends of a killed server may hold its shared memory for a moment.
_START_ATTEMPTS = 5


class EmbeddedPostgres:
    """A PostgreSQL server for development and tests; see :mod:`marquee.local.postgres_cluster` for its roles.

    A later start continues with the data in ``directory``, and keeps a ``port`` that was chosen at random.
    ``postgres.log`` is in ``logs``, by default ``directory``.
    """

    def __init__(self, directory: Path, port: int | None = None, *, logs: Path | None = None) -> None:
        self.directory = directory.resolve()
        self.port = port or free_port()
        self.log = (logs or self.directory) / "postgres.log"
        self._cluster = PostgresCluster(self.directory)
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The URL of the database ``marquee``."""
        return self.database_url("marquee")

    def database_url(self, database: str) -> str:
        """Return the URL of ``database`` for its owner ``app``; the password is in a file that the URL names."""
        return self._url(APP, database)

    def admin_url(self, database: str = "postgres") -> str:
        """Return the URL of ``database`` for the superuser."""
        return self._url(ADMIN, database)

    @property
    def app_password(self) -> str:
        """The password of ``app``, for clients without libpq; only after :meth:`start`."""
        return self._cluster.password(APP)

    @property
    def pid(self) -> int | None:
        """The process id of the postmaster while it runs."""
        return self._process.pid if self._process else None

    @property
    def pids(self) -> tuple[int, ...]:
        """The process id as a tuple; empty when the server does not run."""
        return self._process.pids if self._process else ()

    def start(self) -> EmbeddedPostgres:
        """Start the server, with ``initdb`` on a new directory; return when it accepts connections."""
        self._cluster.initialize()
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                self._launch()
                break
            except ProcessFailed:
                if attempt == _START_ATTEMPTS or "shared memory block" not in self.log.read_text():
                    raise
                time.sleep(0.2 * attempt)
        self.create_database("marquee")
        return self

    def stop(self) -> None:
        """Stop the server; open transactions are rolled back and clients disconnected."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """Kill all its processes at once, as a power failure would."""
        if self.pid is None or self._process is None:
            return
        family = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                pass
        self._process.wait()
        psutil.wait_procs(family, timeout=10)

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create the database ``name`` unless it exists; return its URL."""
        with self._admin_cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                command = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
                cursor.execute(command.format(*map(sql.Identifier, (name, APP, template))))
        return self.database_url(name)

    def create_logins(self) -> dict[str, str]:
        """Create the login of each part in the migrated database ``marquee``; return their URLs by part.

        The dashboards read what Grafana reads, and their playground what `recommend` reads.
        """
        names = {part: login_name(part) for part in (*DATABASE_PARTS, "grafana")}
        set_logins(self.url, {part: self._cluster.make_password(name) for part, name in names.items()})
        with self._admin_cursor() as cursor:
            cursor.execute(sql.SQL("GRANT marquee_recommend TO {}").format(sql.Identifier(names["grafana"])))
        urls = {part: self._url(name, "marquee") for part, name in names.items()}
        urls["dashboards"] = urls.pop("grafana")
        return urls

    def drop_database(self, name: str) -> None:
        """Drop the database ``name``, even if it has open connections."""
        with self._admin_cursor() as cursor:
            command = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            cursor.execute(command.format(sql.Identifier(name)))

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _url(self, role: str, database: str) -> str:
        pass_file = quote(str(self._cluster.pass_file(role)), safe="/")
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}?passfile={pass_file}"

    @contextmanager
    def _admin_cursor(self) -> Iterator[Any]:
        with closing(psycopg2.connect(self.admin_url())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def _launch(self) -> None:
        listen = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        options = ["-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "max_connections=200"]
        argv = self._cluster.server_argv([*listen, *options])
        # SIGINT: on SIGTERM the server would wait until every client has disconnected.
        process = Process("postgres", argv, self.log, cwd=self._cluster.data, stop_signal=signal.SIGINT)
        self._process = process
        process.start()
        process.wait_healthy(lambda: self._cluster.is_ready(process.pid), 60)
