"""``marquee run alerts`` as a person or a script calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from tests.monitoring.alerts import rule_faults
from tests.monitoring.alerts.conftest import ROOT, RULES
from tests.servers.webhook import Webhook

from marquee.cli.main import main
from marquee.cli.run_alerts import FIRING
from marquee.db.pool import Database

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the repository, with the test's database."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)


def write_good_minutes(database: Database, until: datetime) -> None:
    """Write deliveries and monitor runs for the ten minutes before ``until``, in a database made an hour ago."""
    with database.transaction() as cursor:
        cursor.execute("UPDATE migrations SET applied = now() - INTERVAL '1 hour'")
        for minute in range(10):
            rule_faults.insert_delivery(cursor, until - timedelta(minutes=minute), 1_000)
            rule_faults.insert_monitor_run(cursor, until - timedelta(minutes=minute), "quality")


def test_alerts_all_normal_exits_0(postgres_database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Each rule is one line."""
    write_good_minutes(postgres_database, datetime.now(UTC))
    assert main(["alerts"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert len(output) == len(RULES)
    assert all(line.startswith("NORMAL ") for line in output)


def test_alerts_one_firing_exits_3(postgres_database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """The firing alert comes first, with its value, summary and runbook."""
    write_good_minutes(postgres_database, datetime.now(UTC) - timedelta(minutes=20))
    assert main(["alerts"]) == FIRING
    first, summary, runbook, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("FIRING   Stream silent (movielog1): 12")
    assert " s since " in first
    assert summary.strip() == RULES["stream-silent"].annotations.summary
    assert runbook.strip().endswith("docs/runbooks/stream-silent.md")


def test_alerts_json_has_all_fields(postgres_database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts get every field of each alert."""
    write_good_minutes(postgres_database, datetime.now(UTC))
    assert main(["alerts", "--json"]) == 0
    alerts = json.loads(capsys.readouterr().out)
    assert {"uid", "title", "state", "value", "since", "severity", "summary", "runbook"} <= set(alerts[0])


def test_alerts_without_database_names_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the setting that is missing."""
    monkeypatch.delenv("MARQUEE_DATABASE_URL")
    assert main(["alerts"]) == 1
    assert "MARQUEE_DATABASE_URL is not set" in capsys.readouterr().err


def test_alerts_without_rules_names_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the file that is missing."""
    assert main(["alerts", "--rules", "nowhere/alerts.yaml"]) == 1
    assert "nowhere/alerts.yaml cannot be read" in capsys.readouterr().err


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    with closing(Webhook()) as receiver:
        yield receiver


def test_alerts_watch_posts_once_until_stopped(postgres_database: Database, receiver: Webhook) -> None:
    """A rule that fires at the start is printed and posted once. SIGTERM ends the process with exit code 3."""
    write_good_minutes(postgres_database, datetime.now(UTC) - timedelta(minutes=20))
    argv = [sys.executable, "-m", "marquee", "alerts", "--watch", "--every", "0.2"]
    env = {**os.environ, "MARQUEE_SLACK_WEBHOOK": receiver.url}
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "FIRING   Stream silent" in process.stdout.readline()
        (message, *_) = receiver.wait_for(1)
        assert message["text"] == "[CRITICAL] Stream silent"
        assert "docs/runbooks/stream-silent.md|Runbook>" in message["attachments"][0]["text"]
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == FIRING
    assert [message["text"] for message in receiver.posted].count("[CRITICAL] Stream silent") == 1
