"""Tests of ``marquee migrate`` and its run_job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_job(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point of the run_job with these settings."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "shared"), **environment}
    main = str(ROOT / "jobs/migrate/main.py")
    return subprocess.run([sys.executable, main], env=env, capture_output=True, text=True)


@pytest.mark.servers
def test_migrate_job_prints_applied_files(empty_url: str) -> None:
    """A second run prints that there is nothing to do."""
    first = run_job(MARQUEE_DATABASE_URL=empty_url)
    assert (first.returncode, first.stdout.splitlines()[0]) == (0, "applied 0001_baseline.sql")
    second = run_job(MARQUEE_DATABASE_URL=empty_url)
    assert (second.returncode, second.stdout) == (0, "nothing to do: the database is up to date\n")


def test_migrate_job_without_database_url_names_setting() -> None:
    """The exit code is 1, and the message names the missing setting."""
    done = run_job(MARQUEE_DATABASE_URL="")
    assert done.returncode == 1
    assert "MARQUEE_DATABASE_URL is not set" in done.stderr


def test_migrate_job_without_database_fails_in_one_line() -> None:
    """The message masks the password."""
    done = run_job(MARQUEE_DATABASE_URL="postgresql://app:secret@127.0.0.1:1/marquee")
    assert done.returncode == 1
    assert done.stderr.startswith("marquee db migrate: No connection to postgresql://app:***@127.0.0.1:1/marquee")
    assert "secret" not in done.stderr
