"""The embedded PostgreSQL: starts, ends and survives, as root and as an ordinary user."""

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


def run(url: str, command: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(command)
        return list(cursor.fetchall()) if cursor.description else []


def test_data_and_address_outlive_a_kill(tmp_path: Path) -> None:
    """What was committed is there after the worst end, at the same URL."""
    server = EmbeddedPostgres(tmp_path / "postgres").start()
    url = server.url
    run(url, "CREATE TABLE movies (id text)")
    run(url, "INSERT INTO movies VALUES ('alien+1979')")
    server.kill()
    assert server.pid is None
    assert not port_open(server.port)
    with server:
        assert run(url, "SELECT id FROM movies") == [("alien+1979",)]
    assert not port_open(server.port)
    with EmbeddedPostgres(tmp_path / "postgres", server.port):  # Another process, later.
        assert run(url, "SELECT id FROM movies") == [("alien+1979",)]


def test_initdb_that_was_interrupted_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "half").write_text("of it")
    with EmbeddedPostgres(tmp_path) as server:
        assert run(server.url, "SELECT 1") == [(1,)]


def test_port_that_is_taken_is_reported(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres(tmp_path / "one") as server,
        pytest.raises(ProcessFailed, match="Address already in use"),
    ):
        EmbeddedPostgres(tmp_path / "two", server.port).start()


def test_databases_are_made_and_dropped(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        url = server.create_database("movies")
        assert server.create_database("movies") == url
        run(url, "CREATE TABLE movies (id text)")
        copy = server.create_database("copy", template="movies")
        assert run(copy, "SELECT * FROM movies") == []
        server.drop_database("movies")
        with pytest.raises(psycopg2.OperationalError):
            run(url, "SELECT 1")


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder that only root may enter is root's to make")
def test_folder_that_only_we_may_enter_is_no_hindrance(tmp_path: Path) -> None:
    """As under /root: the server's own account passes, and nobody else's way is opened."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with EmbeddedPostgres(private / "postgres") as server:
        assert run(server.url, "SELECT 1") == [(1,)]
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_ordinary_user_starts_it_too() -> None:
    """The same calls as a user without rights, in a process of its own."""
    program = (
        "import os, psycopg2, sys; from pathlib import Path\n"
        "from marquee.local.orphan_reaper import orphan_reaper; from marquee.local.embedded_postgres import EmbeddedPostgres\n"
        "orphan_reaper()  # While we may still start Python, wherever it lives.\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "with EmbeddedPostgres(Path(sys.argv[1])) as server: print(os.geteuid(), server.pid is not None)"
    )
    # Not below pytest's own folder, into which nobody else may look.
    with tempfile.TemporaryDirectory(prefix="marquee-", dir="/tmp") as folder:
        open_to_all = Path(folder)
        open_to_all.chmod(0o777)
        home = {**os.environ, "HOME": folder}
        command = [sys.executable, "-c", program, str(open_to_all / "postgres")]
        done = subprocess.run(command, env=home, capture_output=True, text=True)
    assert done.stdout == "65534 True\n", done.stderr
