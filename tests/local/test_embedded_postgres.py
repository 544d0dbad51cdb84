"""The embedded PostgreSQL: start, stop and recovery, as root and as an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.process import ProcessFailed, port_open

pytestmark = pytest.mark.servers


def execute(url: str, command: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(command)
        return list(cursor.fetchall()) if cursor.description else []


def test_server_killed_keeps_committed_data_and_url(tmp_path: Path) -> None:
    """After SIGKILL the committed rows are at the same URL, also for a new server object."""
    server = EmbeddedPostgres(tmp_path / "postgres").start()
    url = server.url
    execute(url, "CREATE TABLE movies (id text)")
    execute(url, "INSERT INTO movies VALUES ('alien+1979')")
    server.kill()
    assert server.pid is None
    assert not port_open(server.port)
    with server:
        assert execute(url, "SELECT id FROM movies") == [("alien+1979",)]
    assert not port_open(server.port)
    with EmbeddedPostgres(tmp_path / "postgres", server.port):  # Another process, later.
        assert execute(url, "SELECT id FROM movies") == [("alien+1979",)]


def test_start_interrupted_initdb_is_repeated(tmp_path: Path) -> None:
    """A data directory without a complete database is created again."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "half").write_text("of it")
    with EmbeddedPostgres(tmp_path) as server:
        assert execute(server.url, "SELECT 1") == [(1,)]


def test_start_port_in_use_is_reported(tmp_path: Path) -> None:
    """The error has the reason from the server's log."""
    with (
        EmbeddedPostgres(tmp_path / "one") as server,
        pytest.raises(ProcessFailed, match="Address already in use"),
    ):
        EmbeddedPostgres(tmp_path / "two", server.port).start()


def test_create_database_existing_name_returns_same_url(tmp_path: Path) -> None:
    """A database is created once, can be a template, and can be dropped."""
    with EmbeddedPostgres(tmp_path) as server:
        url = server.create_database("movies")
        assert server.create_database("movies") == url
        execute(url, "CREATE TABLE movies (id text)")
        copy = server.create_database("copy", template="movies")
        assert execute(copy, "SELECT * FROM movies") == []
        server.drop_database("movies")
        with pytest.raises(psycopg2.OperationalError):
            execute(url, "SELECT 1")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_start_private_directory_keeps_its_permissions(tmp_path: Path) -> None:
    """The server runs below a directory that only root may enter, whose permissions do not change."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with EmbeddedPostgres(private / "postgres") as server:
        assert execute(server.url, "SELECT 1") == [(1,)]
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_start_ordinary_user_needs_no_privileges() -> None:
    """An unprivileged user, in a separate process, starts the server with the same calls."""
    program = (
        "import os, psycopg2, sys; from pathlib import Path\n"
        "from marquee.local.orphan_reaper import orphan_reaper\n"
        "from marquee.local.embedded_postgres import EmbeddedPostgres\n"
        "orphan_reaper()  # Started as root, which may run this Python.\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "with EmbeddedPostgres(Path(sys.argv[1])) as server: print(os.geteuid(), server.pid is not None)"
    )
    # Not below pytest's own directory, which other users may not enter.
    with tempfile.TemporaryDirectory(prefix="marquee-", dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        environment = {**os.environ, "HOME": folder}
        command = [sys.executable, "-c", program, f"{folder}/postgres"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "65534 True\n", done.stderr
