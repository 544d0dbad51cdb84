"""The embedded PostgreSQL: start, stop and recovery, as root and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import psycopg2.errors
import pytest

from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.postgres_cluster import program_path, reachable_program
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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_connect_another_user_without_the_secret_is_refused(tmp_path: Path) -> None:
    """Neither the URL nor the address lets another account of this machine in."""
    program = (
        "import psycopg2, sys\n"
        "try: psycopg2.connect(sys.argv[1])\n"
        "except psycopg2.OperationalError as error: print(error)\n"
        "else: print('connected')"
    )
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        for url in (server.url, server.admin_url(), server.url.partition("?")[0]):
            command = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", program, url]
            done = subprocess.run(command, capture_output=True, text=True, cwd="/")
            assert "no password supplied" in done.stdout, done


def test_copy_from_program_as_app_is_refused(tmp_path: Path) -> None:
    """The role of the URL is no superuser: it cannot run programs, read files, or become one."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        execute(server.url, "CREATE TABLE x (line text)")
        for command in (
            "COPY x FROM PROGRAM 'id'",
            "COPY x FROM '/etc/passwd'",
            "SELECT pg_read_file('/etc/passwd')",
            "ALTER ROLE app SUPERUSER",
            "GRANT pg_execute_server_program TO app",
            "GRANT admin TO app",
            "ALTER ROLE admin PASSWORD 'known'",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                execute(server.url, command)


def test_secrets_are_private_and_in_no_argument_environment_or_log(tmp_path: Path) -> None:
    """Each password stands in one file, which only its owner can read."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        files = list((tmp_path / "postgres").glob("*.pgpass"))
        passwords = [file.read_text().strip().rsplit(":", 1)[1] for file in files]
        assert len(set(passwords)) == 2
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert server.pid is not None
        process = psutil.Process(server.pid)
        seen = " ".join([server.url, server.log.read_text(), *process.cmdline(), *process.environ().values()])
        assert not [password for password in passwords if password in seen]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_server_of_root_has_no_capability(tmp_path: Path) -> None:
    """The server runs as another account without capabilities, also below a directory that only root may enter."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with EmbeddedPostgres(private / "postgres") as server:
        status = Path(f"/proc/{server.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65534"] * 4
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[kind], 16) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_programs_in_a_private_directory_run_as_a_copy(tmp_path: Path) -> None:
    """Programs that the account cannot reach are copied once to a directory that it can enter."""
    package = Path(program_path("postgres")).parents[1]
    private = tmp_path / "package"
    (private / "bin").mkdir(parents=True, mode=0o700)
    shutil.copy(package / "bin" / "initdb", private / "bin")
    with tempfile.TemporaryDirectory(prefix="marquee-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        for _ in range(2):
            copy = reachable_program(private / "bin" / "initdb", Path(folder))
            assert copy.is_relative_to(folder)
            assert copy.read_bytes() == (package / "bin" / "initdb").read_bytes()
        time_ns = private.stat().st_mtime_ns
        (private / "bin" / "initdb").write_bytes(b"another version")
        os.utime(private, ns=(time_ns, time_ns))
        assert reachable_program(private / "bin" / "initdb", Path(folder)).read_bytes() == b"another version"
    assert reachable_program(Path("/bin/sh"), tmp_path) == Path("/bin/sh")


def test_start_database_of_an_earlier_version_says_what_to_do(tmp_path: Path) -> None:
    """A database that trusts every user is not started, and not deleted."""
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    with pytest.raises(ProcessFailed, match="rm -r"):
        EmbeddedPostgres(tmp_path / "postgres").start()
    assert (data / "PG_VERSION").exists()
