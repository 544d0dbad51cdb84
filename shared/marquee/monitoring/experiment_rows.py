"""Rows of looks and decisions, for panels and alerts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from marquee.db.pool import Database
from marquee.experiments.assessment import MetricAssessment
from marquee.experiments.decision import ExperimentDecision
from marquee.experiments.look import Look
from marquee.monitoring.experiment_timeline import Timeline

DEADLINE_MS = 30_000
_MAX_ROOM = 1e6

_WRITE_LOOK = """
INSERT INTO experiment_looks (time, experiment, arm, metric, users0, users1, value0, value1, estimate, error,
                              information, low, high, margin, harm, harm_high, e, verdict)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (experiment, time, arm, metric) DO NOTHING"""

_WRITE_DECISION = """
INSERT INTO experiment_decisions (time, experiment, release, as_of, action, share, arm, reason, alert, e, room,
                                  waits_for, e_requests, e_impressions, crossed, evidence)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (experiment, time) DO NOTHING"""


def write_look(
    database: Database,
    timeline: Timeline,
    look: Look,
    decision: ExperimentDecision,
    secondary: Sequence[MetricAssessment],
    now: datetime,
) -> int:
    """Write each metric of the look, and the decision, in one transaction; return the number of rows."""
    metrics = [metric for arm in decision.arms for metric in (*arm.guardrails, *([arm.primary] if arm.primary else []))]
    metrics += secondary
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        for metric in metrics:
            cursor.execute(_WRITE_LOOK, _look_row(timeline.name, metric, now))
        cursor.execute(_WRITE_DECISION, _decision_row(timeline, look, decision, now))
    return len(metrics) + 1


def _look_row(name: str, one: MetricAssessment, now: datetime) -> tuple[object, ...]:
    return (
        now, name, one.arm, one.metric, *one.users, *one.values, one.estimate, one.error, one.information,
        one.low, one.high, one.margin, one.harm, _finite(one.harm_high), one.e, one.verdict,
    )  # fmt: skip


def _decision_row(timeline: Timeline, look: Look, decision: ExperimentDecision, now: datetime) -> tuple[object, ...]:
    tightest = min(decision.arms, key=lambda arm: arm.room)
    sample = decision.sample
    return (
        now, timeline.name, look.release, look.as_of, decision.action, decision.share, decision.arm, decision.reason,
        decision.alert, max(arm.e for arm in decision.arms), min(tightest.room, _MAX_ROOM), tightest.waits_for,
        sample.e_requests, sample.e_impressions, sample.crossed, decision.evidence,
    )  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
