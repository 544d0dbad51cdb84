"""All checks of the data at one moment, and what they ask for."""

from __future__ import annotations

from datetime import datetime

from marquee.db import retrain_queue
from marquee.db.pool import Database
from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.monitoring import batch_checks, check_result
from marquee.monitoring.check_result import Check, Verdict
from marquee.monitoring.drift_monitor import DriftMonitor
from marquee.registry import release
from marquee.registry.item_factors import ItemFactors
from marquee.registry.item_store import read_items
from marquee.registry.object_store.object_store import ObjectStore

ASKING = ("drift.", "model.age_h")
"""Checks that ask for a retraining when they are bad: what a newer model would be better at."""


class QualityChecks:
    """Checks the data against the arm that serves the most users. Not to be shared between threads."""

    def __init__(self, rating_max: int) -> None:
        self._rating_max = rating_max
        self._world = DriftMonitor()
        self._side: ItemFactors | None = None

    def run(self, database: Database, store: ObjectStore, now: datetime) -> int:
        """Check, as of the minute that ends by ``now``, keep the rows, and ask for a retraining if it has to be;
        returns how many rows.
        """
        end = now.replace(second=0, microsecond=0)
        found = batch_checks.check_batches(database, end, self._rating_max)
        side = self._serving(store)
        if side is not None:
            found += self._world.check(database, side, end)
        written = check_result.write_checks(database, end, found)
        if side is not None:
            self._ask(database, found, side.manifest.version, now)
        return written

    def _serving(self, store: ObjectStore) -> ItemFactors | None:
        """None before the first release; a release that cannot be loaded is for others to report."""
        try:
            arms = release.read_current_release(store)[0].arms
            version = max(arms, key=lambda arm: arm.weight).version
            if self._side is None or self._side.manifest.version != version:
                self._side = read_items(store, version)
            return self._side
        except (ObjectNotFound, ArtifactRefused):
            return None

    def _ask(self, database: Database, found: list[Check], version: str, now: datetime) -> None:
        """One request for the first of them; the retraining that answers it answers all."""
        bad = [c for c in found if c.verdict is Verdict.BAD and c.name.startswith(ASKING)]
        if bad:
            worst = bad[0]
            reason = f"{worst.name} is {worst.value:.3g} {worst.unit}, usual is up to {worst.usual_high:.3g}"
            retrain_queue.request_retrain(database, worst.name, version, reason, now)
