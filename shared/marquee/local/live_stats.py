"""What the demo shows: looked up where it is kept, once a second, and never an error of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.errors import MarqueeError
from marquee.evaluation.streaming_bootstrap import Accuracy
from marquee.local.scheduler import JobRun, read_runs
from marquee.local.state_dir import StateDir
from marquee.local.system import RETRAIN
from marquee.monitoring import live_accuracy
from marquee.registry import release
from marquee.registry.object_store.object_store import ObjectStore
from marquee.simulate.report import SimulationReport

log = logging.getLogger(__name__)

# The exit codes of `marquee retrain`; any other is a failure.
RELEASED, REFUSED = 0, 3
_SERVED = """
SELECT tier, model_version, count(*) FROM impressions WHERE time >= %s GROUP BY tier, model_version"""

_EVALUATED = "SELECT max(time) FROM monitor_runs WHERE task = 'predictions'"


@dataclass(frozen=True)
class LiveStats:
    """One look. Counts are of this run, since ``since``; a source that is away keeps its last figures."""

    report: SimulationReport | None = None
    rows: int = 0
    quarantine: Mapping[str, int] = field(default_factory=dict)
    tiers: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    release_number: int = 0
    serving: tuple[str, ...] = ()
    retrains: tuple[JobRun, ...] = ()
    accuracy: Accuracy | None = None

    @property
    def lines(self) -> int:
        """Lines that Kafka acknowledged."""
        return self.report.acknowledged if self.report else 0

    @property
    def lag(self) -> int:
        """Lines on their way from Kafka to the tables."""
        return max(0, self.lines - self.rows)

    @property
    def answers(self) -> int:
        """Requests that were answered with status 200."""
        return self.report.requests.get("200", 0) if self.report else 0

    @property
    def failures(self) -> Mapping[str, int]:
        """Requests of customers that were not, by status; 0 is no answer in time."""
        requests = self.report.requests if self.report else {}
        return {status: count for status, count in requests.items() if status != "200"}


class LiveStatsCollector:
    """Looks at the sources."""

    def __init__(
        self,
        report: Path,
        database: Database,
        objects: ObjectStore,
        home: StateDir,
        since: datetime,
    ) -> None:
        self._report = report
        self._database = database
        self._objects = objects
        self._home = home
        self._since = since
        self._evaluated: datetime | None = None
        before = record_counts.count_all(database)
        self._rows_before = before.records
        self._quarantine_before = dict(before.quarantine_by_category)
        self._score = LiveStats()

    def look(self) -> LiveStats:
        """The newest figures."""
        for source in (self._simulator, self._tables, self._answers, self._models, self._live):
            try:
                self._score = replace(self._score, **source())
            except (MarqueeError, OSError, msgspec.MsgspecError) as error:
                log.info("%s: %s", source.__name__.strip("_"), error)
        return self._score

    def _simulator(self) -> dict[str, Any]:
        return {"report": SimulationReport.read(self._report)} if self._report.exists() else {}

    def _tables(self) -> dict[str, Any]:
        totals = record_counts.count_all(self._database)
        before = self._quarantine_before
        news = {c: n - before.get(c, 0) for c, n in totals.quarantine_by_category.items()}
        return {
            "rows": totals.records - self._rows_before,
            "quarantine": {category: count for category, count in news.items() if count},
        }

    def _answers(self) -> dict[str, Any]:
        tiers: dict[str, int] = {}
        versions: dict[str, int] = {}
        for tier, version, count in self._database.read(_SERVED, (self._since,), deadline_ms=5_000):
            tiers[tier] = tiers.get(tier, 0) + count
            versions[version] = versions.get(version, 0) + count
        return {"tiers": tiers, "versions": versions}

    def _models(self) -> dict[str, Any]:
        serving, _ = release.read_current_release(self._objects)
        runs = tuple(run for run in read_runs(self._home, RETRAIN) if run.started >= self._since)
        versions = tuple(arm.version for arm in serving.arms)
        return {"release_number": serving.number, "serving": versions, "retrains": runs}

    def _live(self) -> dict[str, Any]:
        """What the monitor's last run found out, of all ratings of this run of the system."""
        ((evaluated,),) = self._database.read(_EVALUATED, deadline_ms=5_000)
        if evaluated == self._evaluated:
            return {}
        found = live_accuracy.accuracy_since(self._database, self._since)
        self._evaluated = evaluated
        return {"accuracy": found}
