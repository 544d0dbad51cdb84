"""Live statistics of the demo, collected once a second from the simulator, the database and the objects."""

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
from marquee.evaluation.bootstrap import Accuracy
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
_IMPRESSIONS = """
SELECT tier, model_version, count(*) FROM impressions WHERE time >= %s GROUP BY tier, model_version"""

_LAST_EVALUATION = "SELECT max(time) FROM monitor_runs WHERE task = 'predictions'"


@dataclass(frozen=True)
class LiveStats:
    """The statistics of one run. A source that is unavailable keeps its previous values."""

    report: SimulationReport | None = None
    rows: int = 0
    quarantine: Mapping[str, int] = field(default_factory=dict)
    tiers: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    release_number: int = 0
    release_reason: str = ""
    """Author and reason of the release."""
    serving: tuple[str, ...] = ()
    retrains: tuple[JobRun, ...] = ()
    accuracy: Accuracy | None = None

    @property
    def acknowledged(self) -> int:
        """Records that Kafka acknowledged."""
        return self.report.acknowledged if self.report else 0

    @property
    def lag(self) -> int:
        """Acknowledged records that are not in the tables yet."""
        return max(0, self.acknowledged - self.rows)

    @property
    def successful_requests(self) -> int:
        """Requests with status 200."""
        return self.report.requests.get("200", 0) if self.report else 0

    @property
    def failed_requests(self) -> Mapping[str, int]:
        """Requests with another status, by status; 0: no response in time."""
        requests = self.report.requests if self.report else {}
        return {status: count for status, count in requests.items() if status != "200"}


class LiveStatsCollector:
    """Collector of the statistics since the time ``since``."""

    def __init__(
        self,
        report: Path,
        database: Database,
        objects: ObjectStore,
        state_dir: StateDir,
        since: datetime,
    ) -> None:
        self._report = report
        self._database = database
        self._objects = objects
        self._state_dir = state_dir
        self._since = since
        self._last_evaluation: datetime | None = None
        # The report of earlier simulators of this run, before a hand-over to an empty topic.
        self.earlier: SimulationReport | None = None
        before = record_counts.count_all(database)
        self._rows_before = before.records
        self._quarantine_before = dict(before.quarantine_by_category)
        self._stats = LiveStats()

    def collect(self) -> LiveStats:
        """Return the current statistics; the failure of a source is logged and not raised."""
        for source in (self._simulator, self._tables, self._impressions, self._models, self._accuracy):
            try:
                self._stats = replace(self._stats, **source())
            except (MarqueeError, OSError, msgspec.MsgspecError) as error:
                log.info("%s: %s", source.__name__.strip("_"), error)
        return self._stats

    def _simulator(self) -> dict[str, Any]:
        if not self._report.exists():
            return {}
        return {"report": SimulationReport.read(self._report).with_earlier(self.earlier)}

    def _tables(self) -> dict[str, Any]:
        totals = record_counts.count_all(self._database)
        before = self._quarantine_before
        added = {c: n - before.get(c, 0) for c, n in totals.quarantine_by_category.items()}
        return {
            "rows": totals.records - self._rows_before,
            "quarantine": {category: count for category, count in added.items() if count},
        }

    def _impressions(self) -> dict[str, Any]:
        tiers: dict[str, int] = {}
        versions: dict[str, int] = {}
        for tier, version, count in self._database.read(_IMPRESSIONS, (self._since,), deadline_ms=5_000):
            tiers[tier] = tiers.get(tier, 0) + count
            versions[version] = versions.get(version, 0) + count
        return {"tiers": tiers, "versions": versions}

    def _models(self) -> dict[str, Any]:
        current = release.find_serving_release(self._objects)
        if current is None:
            return {}
        runs = tuple(run for run in read_runs(self._state_dir, RETRAIN) if run.started >= self._since)
        versions = tuple(arm.version for arm in current.arms)
        reason = f"{current.author}: {current.reason}"
        return {"release_number": current.number, "release_reason": reason, "serving": versions, "retrains": runs}

    def _accuracy(self) -> dict[str, Any]:
        """Return the accuracy on all ratings of this run, when the monitor has evaluated again."""
        ((last_evaluation,),) = self._database.read(_LAST_EVALUATION, deadline_ms=5_000)
        if last_evaluation == self._last_evaluation:
            return {}
        accuracy = live_accuracy.accuracy_since(self._database, self._since)
        self._last_evaluation = last_evaluation
        return {"accuracy": accuracy}
