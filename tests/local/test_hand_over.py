"""The hand-over of a full broker in memory to an empty topic, with a simulator that writes records at once."""

from __future__ import annotations

import io
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from tests.local.test_demo import make_report, make_stats

from marquee.db.pool import Database
from marquee.local import demo
from marquee.local.demo import Demo, DemoOptions
from marquee.local.infra_spec import read_schedules
from marquee.local.reconciliation import reconcile_when_drained
from marquee.local.shape import Shape
from marquee.local.state_dir import StateDir
from marquee.simulate.report import PartitionReport

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]


class FakeSystem:
    """A system whose simulator writes four records per topic at once, of which ``written`` reach the tables."""

    def __init__(self, database: Database, state_dir: StateDir, written: int) -> None:
        self.settings = SimpleNamespace(database_url=database.url, kafka_topic="log", objects_url="file:///none")
        self.state_dir, self.shape, self.schedules = state_dir, Shape(), read_schedules(ROOT)
        self.supervisor = SimpleNamespace(stop=lambda *_: None, states=tuple)
        self.kafka_restarts = self.hand_overs = self.starts = 0
        self._database, self._written = database, written

    def is_kafka_full(self) -> bool:
        return self.hand_overs < 2 and self.starts < 3

    def topic_id(self) -> str:
        return f"id-{self.hand_overs}"

    def hand_over(self) -> None:
        self.hand_overs += 1

    def start_simulator(self, report: Path, *_: str) -> None:
        first = 4 * (self.starts - self.hand_overs)
        self.starts += 1
        spans = {"0": PartitionReport(first, first + 3, 4)}
        make_report(acknowledged=4, partitions=spans).write(report)
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO topics (topic, topic_id) VALUES ('log', %s) ON CONFLICT DO NOTHING",
                (self.topic_id(),),
            )
            for offset in range(first, first + self._written):
                cursor.execute(
                    "INSERT INTO watches SELECT now(), topic_key, 0, %s, 'u', 'm', 1 FROM topics WHERE topic_id = %s",
                    (offset, self.topic_id()),
                )


class FakeCollector:
    """Statistics that never change."""

    earlier: Any = None

    def collect(self) -> Any:
        return make_stats(report=None)


@pytest.mark.parametrize(("written", "hand_overs"), [(4, 2), (3, 0)])
def test_demo_full_broker_is_handed_over_only_when_everything_is_written(
    written: int, hand_overs: int, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict counts the records of every topic, each against its own id; a topic with missing records stays."""
    state_dir = StateDir(tmp_path)
    state_dir.runs.mkdir()
    monkeypatch.setattr(demo, "reconcile_when_drained", partial(reconcile_when_drained, timeout_s=0.3))
    monkeypatch.setattr(demo, "COLLECT_INTERVAL_S", 0.01)
    with closing(Database(database_url)) as database:
        system = FakeSystem(database, state_dir, written)
        run = Demo(system, Console(file=io.StringIO()), DemoOptions(duration_s=1.0), datetime.now(UTC))  # type: ignore[arg-type]
        monkeypatch.setattr(run, "_create_collector", FakeCollector)
        outcome = run.run()
    assert system.hand_overs == hand_overs
    assert outcome.report.acknowledged == outcome.reconciliation.acknowledged == 4 * system.starts
    assert outcome.reconciliation.exact == (written == 4)
    assert outcome.reconciliation.unwritten + outcome.reconciliation.lost == (4 - written) * system.starts
