"""Migrations: numbered SQL files, forward only, each number and its record in one transaction.

``migrations/README.md`` has the rules for the files.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from marquee.db.pool import Database
from marquee.errors import MigrationError

MIGRATIONS = Path(__file__).with_name("migrations")
DIALECTS = ("timescale", "postgresql")

_log = logging.getLogger(__name__)
_FILE = re.compile(r"(?P<number>\d{4})_[a-z0-9_]+?(\.(?P<dialect>[a-z]+))?\.sql")
_LOCK = 0x4D415251  # An arbitrary number that nothing else in the database uses.


@dataclass(frozen=True, slots=True)
class Migration:
    """One number: the SQL of its files by file name, in execution order."""

    number: int
    files: Mapping[str, str]

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file, in hex."""
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.files.items()}


def migrate(url: str, directory: Path = MIGRATIONS) -> list[str]:
    """Apply the missing migrations to the database at ``url``; return the names of the applied files.

    Several processes may migrate at once: one works, and the others wait. A number that fails leaves nothing
    behind; the numbers before it stay applied. A database that a newer version migrated is left as it is, and a
    warning says so: code can be rolled back. Raises :class:`MigrationError` if an applied file has changed, if one
    below the highest number here is missing, or if a file fails.
    """
    applied: list[str] = []
    with closing(Database(url, statement_timeout_ms=0)) as database:
        _warn_of_newer_files(database, directory)
        for migration in load_migrations(directory, _dialect(database)):
            if _apply(database, migration, directory):
                applied += migration.files
    return applied


def load_migrations(directory: Path, dialect: str) -> list[Migration]:
    """Return the migrations of ``directory`` for a database of this dialect, in order."""
    by_number: dict[int, dict[str, str]] = {}
    for path in sorted(directory.glob("*.sql"), key=lambda path: (path.name[:4], path.name.count("."))):
        match = _FILE.fullmatch(path.name)
        if match is None or match["dialect"] not in (None, *DIALECTS):
            raise MigrationError(
                f"{path.name} is not a migration: the name is NNNN_name.sql, "
                "NNNN_name.timescale.sql or NNNN_name.postgresql.sql"
            )
        if match["dialect"] in (None, dialect):
            by_number.setdefault(int(match["number"]), {})[path.name] = path.read_text()
    return [Migration(number, files) for number, files in by_number.items()]


def _warn_of_newer_files(database: Database, directory: Path) -> None:
    with _locked(database) as cursor:
        newer = [name for name in _recorded(cursor) if int(name[:4]) > _highest_number(directory)]
    if newer:
        _log.warning(
            "a newer version of Marquee has migrated this database (%s); this version leaves it as it is",
            ", ".join(newer),
        )


def _highest_number(directory: Path) -> int:
    return max((int(path.name[:4]) for path in directory.glob("[0-9][0-9][0-9][0-9]_*.sql")), default=-1)


def _dialect(database: Database) -> str:
    """Return the dialect recorded by the first migration, or else that of the server."""
    with _locked(database) as cursor:
        for name in _recorded(cursor):
            for dialect in DIALECTS:
                if name.endswith(f".{dialect}.sql"):
                    return dialect
        return _native_dialect(cursor)


def _native_dialect(cursor: Any) -> str:
    cursor.execute(
        "SELECT installed_version IS NOT NULL, "
        "current_setting('shared_preload_libraries') ~ 'timescaledb' "
        "FROM pg_available_extensions WHERE name = 'timescaledb'"
    )
    installed, loaded = cursor.fetchone() or (False, False)
    if not installed and loaded:
        cursor.execute("CREATE EXTENSION timescaledb")
    return "timescale" if installed or loaded else "postgresql"


def _apply(database: Database, migration: Migration, directory: Path) -> bool:
    """Apply one migration unless it is recorded; return whether it was applied."""
    with _locked(database) as cursor:
        recorded = _recorded(cursor)
        _check_unchanged(recorded, migration, directory)
        if all(name in recorded for name in migration.files):
            return False
        _check_forward(recorded, migration)
        for name, text in migration.files.items():
            _log.info("applying %s", name)
            _execute(cursor, name, text)
        for name, digest in migration.digests().items():
            cursor.execute("INSERT INTO migrations (file, sha256) VALUES (%s, %s)", (name, digest))
        return True


@contextmanager
def _locked(database: Database) -> Iterator[Any]:
    """Provide a transaction that only one process at a time can enter."""
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS migrations "
            "(file text PRIMARY KEY, sha256 text NOT NULL, applied timestamptz NOT NULL DEFAULT now())"
        )
        yield cursor


def _recorded(cursor: Any) -> dict[str, str]:
    cursor.execute("SELECT file, sha256 FROM migrations ORDER BY file")
    return dict(cursor.fetchall())


def _check_unchanged(recorded: Mapping[str, str], migration: Migration, directory: Path) -> None:
    for name, digest in migration.digests().items():
        if recorded.get(name, digest) != digest:
            raise MigrationError(
                f"{name} was changed after it was applied to this database. Restore it, and write the change "
                "as a new migration."
            )
    for name in recorded:
        if int(name[:4]) <= _highest_number(directory) and not (directory / name).exists():
            raise MigrationError(
                f"This database has {name}, which this version of Marquee does not have: use the "
                "version that applied it, or a newer one."
            )


def _check_forward(recorded: Mapping[str, str], migration: Migration) -> None:
    last = max((int(name[:4]) for name in recorded), default=-1)
    if migration.number <= last:
        new = [name for name in migration.files if name not in recorded]
        raise MigrationError(f"{', '.join(new)} came after number {last:04d} was applied: give it a higher number.")


def _execute(cursor: Any, name: str, text: str) -> None:
    try:
        cursor.execute(text)
    except psycopg2.OperationalError:  # The database is unavailable; the file is not at fault.
        raise
    except psycopg2.Error as error:
        raise MigrationError(f"{name} failed and left nothing behind: {str(error).strip()}") from error
