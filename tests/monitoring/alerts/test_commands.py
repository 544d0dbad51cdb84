"""``marquee alerts`` as a person or a script calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.monitoring.alerts import faults
from tests.monitoring.alerts.conftest import ROOT
from tests.servers.webhook import Webhook
from tests.support.waiting import wait_until

from marquee.cli.main import main
from marquee.cli.run_alerts import FIRES
from marquee.db.pool import Database

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def installation(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)


def well(database: Database, until: datetime) -> None:
    """Lines and good runs of the monitor, up to then."""
    with database.transaction() as cursor:
        for minute in range(10):
            faults.delivered(cursor, until - timedelta(minutes=minute), 1_000)
            faults.ran(cursor, until - timedelta(minutes=minute), "quality")


def test_it_ends_with_0_where_nothing_fires(plain: Database, capsys: pytest.CaptureFixture[str]) -> None:
    well(plain, datetime.now(UTC))
    assert main(["alerts"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 11
    assert all(line.startswith("NORMAL ") for line in shown)


def test_it_ends_with_3_where_something_does(plain: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """The worst first, with its summary and its page."""
    well(plain, datetime.now(UTC) - timedelta(minutes=20))
    assert main(["alerts"]) == FIRES
    first, summary, page, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("FIRING   Stream silent since ")
    assert "was written for 12" in summary
    assert page.strip().endswith("docs/runbooks/stream-silent.md")


def test_json_holds_all_of_an_alert(plain: Database, capsys: pytest.CaptureFixture[str]) -> None:
    well(plain, datetime.now(UTC))
    assert main(["alerts", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"uid", "title", "state", "value", "since", "severity", "summary", "runbook"} <= set(found[0])


def test_without_a_database_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MARQUEE_DATABASE_URL")
    assert main(["alerts"]) == 1
    assert "MARQUEE_DATABASE_URL is not set" in capsys.readouterr().err


def test_without_the_rules_it_says_where_it_looked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "--rules", "nowhere/alerts.yaml"]) == 1
    assert "nowhere/alerts.yaml cannot be read" in capsys.readouterr().err


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with closing(Webhook()) as webhook:
        yield webhook


def test_watched_it_tells_slack_and_goes_on_after_a_kill(
    plain: Database, webhook: Webhook, tmp_path: Path
) -> None:
    """Silent for long: pending, then told once. Killed and begun anew it keeps quiet, until lines come again."""
    well(plain, datetime.now(UTC) - timedelta(hours=2))
    state = tmp_path / "alerts.json"
    # As if it had been pending for longer than the rule waits.
    since = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    instance = {"labels": {}, "state": "pending", "since": since}
    state.write_text(json.dumps({"memories": {"marquee-stream-silent": {"instances": [instance]}}}))
    first = watch(webhook, state)
    (posted,) = webhook.wait_for(1)
    assert posted["text"] == "[CRITICAL] Stream silent"
    assert "docs/runbooks/stream-silent.md|Runbook>" in posted["attachments"][0]["text"]
    wait_for_sent(state)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    second = watch(webhook, state)
    assert second.stdout is not None
    assert "FIRING   Stream silent" in second.stdout.readline()
    second.terminate()
    second.communicate(timeout=60)
    assert second.returncode == FIRES
    assert len(webhook.posted) == 1


def watch(webhook: Webhook, state: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "marquee", "alerts", "--watch", "--every", "0.2", "--state", str(state)]
    env = {**os.environ, "MARQUEE_SLACK_WEBHOOK": webhook.url}
    return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def wait_for_sent(state: Path) -> None:
    """Until the file says that the notice arrived."""
    wait_until(lambda: "marquee-stream-silent" in json.loads(state.read_text()).get("sent", {}))
