"""The rules are watched in the background of the page."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.page.conftest import ROOT

from marquee.db.pool import Database
from marquee.local.process import free_port
from marquee.monitoring.alerts.alert import Alert
from marquee.monitoring.alerts.provisioning import read_notifications, read_rules
from marquee.monitoring.alerts.watcher import Watcher
from marquee.page.watch import watched

POLICY = read_notifications(ROOT / "infra/grafana/provisioning/alerting/slack.yaml").policies[0]
RULES = read_rules(ROOT / "dashboards/alerts.yaml")
pytestmark = pytest.mark.servers


def _first(url: str, file: Path) -> list[Alert]:
    """The first alerts that a watch of this database finds."""
    with closing(Database(url, connect_timeout_s=2)) as database:
        watcher = Watcher(database, RULES, POLICY, file=file)
        with watched(watcher, every_s=0.05) as alerts:
            deadline = time.monotonic() + 60
            while not alerts() and time.monotonic() < deadline:
                time.sleep(0.02)
            return list(alerts())


def test_states_are_there_soon(database_url: str, tmp_path: Path) -> None:
    """Every rule is listed; the states survive in the file."""
    found = _first(database_url, tmp_path / "alerts.json")
    assert {alert.uid for alert in found} == {rule.uid for group in RULES for rule in group.rules}
    assert {alert.title for alert in found if alert.state != "normal"} >= {"Stream silent"}
    assert (tmp_path / "alerts.json").exists()


def test_a_database_that_is_away_is_a_state(tmp_path: Path) -> None:
    """The watch goes on, and says of the stream that it cannot be seen."""
    found = _first(f"postgresql://app@127.0.0.1:{free_port()}/nobody", tmp_path / "alerts.json")
    silent = next(alert for alert in found if alert.title == "Stream silent")
    assert silent.state in ("pending", "firing")
