"""Records of the runs of ``retrain``, whatever their outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from marquee.db.pool import Database

_RECORD = """
INSERT INTO retrain_runs (run, started, finished, trained_through, version, outcome, reason, metrics)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (run) DO UPDATE SET
    finished = excluded.finished, trained_through = excluded.trained_through, version = excluded.version,
    outcome = excluded.outcome, reason = excluded.reason, metrics = excluded.metrics"""

_LATEST = """
SELECT run, started, finished, trained_through, version, outcome, reason, metrics
FROM retrain_runs ORDER BY started DESC, run LIMIT %s"""


@dataclass(frozen=True, slots=True)
class RetrainRun:
    """One run.

    ``outcome`` is "released", "trained" (without intent to release), "held" (good enough, but an
    experiment is running), "refused", "waiting" (too few ratings yet) or "failed"; ``reason`` explains it.
    ``trained_through`` is the latest event time in the training data. ``version`` is None if the run made
    no artifact.
    """

    run: str
    started: datetime
    finished: datetime
    trained_through: datetime | None
    version: str | None
    outcome: str
    reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def record_run(database: Database, run: RetrainRun) -> None:
    """Store ``run``, or replace the record of the same run."""
    metrics = msgspec.json.encode(dict(run.metrics)).decode()
    values = (run.run, run.started, run.finished, run.trained_through, run.version, run.outcome, run.reason)
    with database.transaction() as cursor:
        cursor.execute(_RECORD, (*values, metrics))


def latest_runs(database: Database, limit: int = 10) -> list[RetrainRun]:
    """Return the newest ``limit`` runs, newest first."""
    with database.transaction() as cursor:
        cursor.execute(_LATEST, (limit,))
        return [RetrainRun(*row) for row in cursor.fetchall()]
