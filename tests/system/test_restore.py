"""The restore of docs/operations.md: a lost database, an old backup, and no missing record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.chaos.system import ChaosSystem
from tests.support.waiting import wait_until

from marquee.config.settings import Settings
from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.local.postgres_cluster import program_path

SEED = 11
# Records before the backup starts, and after it.
BEFORE_BACKUP, AFTER_BACKUP = 600, 600

pytestmark = [pytest.mark.servers, pytest.mark.long]


def reset_offsets(system: ChaosSystem, *words: str) -> subprocess.CompletedProcess[str]:
    """`marquee db offsets reset` with the settings of the bridges."""
    options = (("group.id", "chaos"),)
    settings = Settings(kafka_bootstrap=system.kafka.bootstrap, kafka_options=options, database_url=system.postgres.url)
    return subprocess.run(
        [sys.executable, "-m", "marquee", "db", "offsets", "reset", *words],
        env={**os.environ, **settings.environment()},
        capture_output=True,
        text=True,
        check=False,
    )


def run_postgres_program(program: str, *arguments: str) -> None:
    subprocess.run([program_path(program), *arguments], check=True, capture_output=True)


def count_rows(system: ChaosSystem) -> int:
    return record_counts.count_all(system.database).records


def test_restored_database_after_offset_reset_has_every_record(tmp_path: Path) -> None:
    """Every record is stored once after a backup under load, a restore into an empty database and a reset.

    `marquee db offsets reset` finds the first missing records by the restored ledger.
    """
    backup = str(tmp_path / "backup")
    # One bridge: when a leader leaves the group first, the embedded broker may not elect a new one.
    with ChaosSystem(tmp_path, SEED, records_per_s=800, bridges=("bridge",)) as system:
        wait_until(lambda: count_rows(system) > BEFORE_BACKUP, 60)
        run_postgres_program("pg_dump", "--format=custom", f"--file={backup}", system.postgres.url)
        backed_up = count_rows(system)
        wait_until(lambda: count_rows(system) > backed_up + AFTER_BACKUP, 60)
        before = system.settle()
        assert before.exact, before

        refused = reset_offsets(system)
        assert refused.returncode == 1
        assert "a bridge of the group chaos is running" in refused.stderr

        system.end("bridge", signal.SIGTERM)
        system.database.close()
        system.postgres.drop_database("marquee")
        system.postgres.create_database("marquee")
        run_postgres_program("pg_restore", f"--dbname={system.postgres.url}", backup)
        system.database = Database(system.postgres.url)
        assert 0 < count_rows(system) < before.rows - AFTER_BACKUP // 2

        planned = reset_offsets(system, "--dry-run")
        done = reset_offsets(system)
        assert (planned.returncode, done.returncode) == (0, 0), planned.stderr + done.stderr
        assert planned.stdout == done.stdout
        assert "(0 redelivered)" not in done.stdout
        # A second reset changes nothing.
        assert reset_offsets(system).stdout.count("(0 redelivered)") == 2

        system.start("bridge")
        after = system.settle()
        assert after.exact, after
        assert after.rows == before.rows
