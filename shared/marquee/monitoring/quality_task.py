"""Monitor task: all data quality checks, and the retraining that they request."""

from __future__ import annotations

from datetime import datetime

from marquee.db import retrain_queue
from marquee.db.pool import Database
from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.events.log_scale import LogScale
from marquee.monitoring import batch_checks, check_result
from marquee.monitoring.check_result import Check, Verdict
from marquee.monitoring.drift_monitor import DriftMonitor
from marquee.registry import release
from marquee.registry.item_factors import ItemFactors
from marquee.registry.item_store import read_items
from marquee.registry.object_store.object_store import ObjectStore

RETRAIN_CHECKS = ("drift.", "model.age_h")
"""Prefixes of the checks that request a retraining if they are bad, because a newer model helps."""


class QualityChecks:
    """Checks of the data, and of the model of the largest arm. Not safe to share between threads."""

    def __init__(self, scale: LogScale) -> None:
        self._scale = scale
        self._drift_monitor = DriftMonitor()
        self._items: ItemFactors | None = None

    def run(self, database: Database, store: ObjectStore, now: datetime) -> int:
        """Write the checks as of the minute before ``now``; return their number. Request a retraining if needed."""
        end = now.replace(second=0, microsecond=0)
        checks = batch_checks.check_batches(database, end, self._scale)
        items = self._read_serving_items(store)
        if items is not None:
            checks += self._drift_monitor.check(database, items, end)
        written = check_result.write_checks(database, end, checks)
        if items is not None:
            self._request_retrain(database, checks, items.manifest.version, now)
        return written

    def _read_serving_items(self, store: ObjectStore) -> ItemFactors | None:
        """Return the items of the serving model, or None without a release that can be loaded."""
        try:
            serving = release.find_serving_release(store)
            if serving is None:
                return None
            version = max(serving.arms, key=lambda arm: arm.weight).version
            if self._items is None or self._items.manifest.version != version:
                self._items = read_items(store, version)
            return self._items
        except (ObjectNotFound, ArtifactRefused):
            return None

    def _request_retrain(self, database: Database, checks: list[Check], version: str, now: datetime) -> None:
        """Request one retraining for the first bad check. It serves the others as well."""
        bad = [c for c in checks if c.verdict is Verdict.BAD and c.name.startswith(RETRAIN_CHECKS)]
        if bad:
            worst = bad[0]
            reason = f"{worst.name} is {worst.value:.3g} {worst.unit}, the usual maximum is {worst.usual_high:.3g}"
            retrain_queue.request_retrain(database, worst.name, version, reason, now)
