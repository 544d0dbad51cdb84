"""``marquee migrate`` and its job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def job(**environment: str) -> subprocess.CompletedProcess[str]:
    """The job's entry point, with these settings."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "shared"), **environment}
    main = str(ROOT / "jobs/migrate/main.py")
    return subprocess.run([sys.executable, main], env=env, capture_output=True, text=True)


@pytest.mark.servers
def test_migrate_says_what_it_applied(empty_url: str) -> None:
    first = job(MARQUEE_DATABASE_URL=empty_url)
    assert (first.returncode, first.stdout.splitlines()[0]) == (0, "applied 0001_baseline.sql")
    second = job(MARQUEE_DATABASE_URL=empty_url)
    assert (second.returncode, second.stdout) == (0, "nothing to do: the database is up to date\n")


def test_migrate_without_a_database_says_what_is_missing() -> None:
    done = job(MARQUEE_DATABASE_URL="")
    assert done.returncode == 1
    assert "MARQUEE_DATABASE_URL is not set" in done.stderr


def test_migrate_with_the_database_away_fails_in_a_line() -> None:
    done = job(MARQUEE_DATABASE_URL="postgresql://app:secret@127.0.0.1:1/marquee")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "marquee db migrate: No connection to postgresql://app:***@127.0.0.1:1/marquee"
    )
    assert "secret" not in done.stderr
