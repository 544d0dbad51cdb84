"""The record of each run of ``retrain``, whatever came of it."""

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
    """One run. ``outcome`` is "released", "trained" (and not meant to be released),
    "held" (good enough, while an experiment runs), "refused" or "failed",
    and ``reason`` says why.

    ``trained_through`` is the event time up to which its data went; ``version`` is None where no
    artifact came of it.
    """

    run: str
    started: datetime
    finished: datetime
    trained_through: datetime | None
    version: str | None
    outcome: str
    reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def record_run(database: Database, retraining: RetrainRun) -> None:
    """Keep ``retraining``; the same run again replaces what was kept of it."""
    row = retraining
    metrics = msgspec.json.encode(dict(row.metrics)).decode()
    values = (row.run, row.started, row.finished, row.trained_through, row.version, row.outcome, row.reason)
    with database.transaction() as cursor:
        cursor.execute(_RECORD, (*values, metrics))


def latest_runs(database: Database, limit: int = 10) -> list[RetrainRun]:
    """The newest ``limit`` runs, newest first."""
    with database.transaction() as cursor:
        cursor.execute(_LATEST, (limit,))
        return [RetrainRun(*row) for row in cursor.fetchall()]
