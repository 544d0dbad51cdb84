"""Monitor task ``experiments``: assessment of the running experiment, and execution of the step that is due.

The task keeps no state. The step is a pure function of the declaration, the stored data and the release
(:mod:`marquee.experiments.decision`). It is executed by one compare-and-swap of the release document, on the number of
the assessed release. Of two concurrent runs only one acts. A run that is killed before its write leaves the step to the
next run, and a run that is killed after it has nothing left to do.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from marquee.db.pool import Database
from marquee.events.log_scale import LogScale
from marquee.experiments.assessment import MetricAssessment
from marquee.experiments.decision import ExperimentDecision, decide
from marquee.experiments.declaration import Declaration
from marquee.experiments.lifecycle import read_declaration
from marquee.experiments.look import Look
from marquee.experiments.secondary_metrics import assess_secondary
from marquee.monitoring.experiment_sums import read_as_of, read_baselines, read_look
from marquee.monitoring.experiment_timeline import Timeline
from marquee.monitoring.exposures import ExposureRules, begun_window, update_exposures
from marquee.monitoring.paired_losses import PairedLosses
from marquee.monitoring.served_prediction import Predictor
from marquee.registry.experiment_steps import ReleaseChanged, end_experiment, enrol_more
from marquee.registry.gate_report import EXPERIMENT_RUN, REFUSED, GateReport, store_report
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release

_log = logging.getLogger(__name__)
AUTHOR = "monitor"
SETTLE = timedelta(seconds=10)
"""Delay before a rating is compared, as in ``live_predictions``."""
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


@dataclass(frozen=True, slots=True)
class Assessment:
    """A look at the running experiment, and the decision that follows."""

    declaration: Declaration
    timeline: Timeline
    look: Look
    decision: ExperimentDecision


class Controller:
    """Controller of the running experiment. Not safe to share between threads.

    ``open_writer`` returns a store that can publish releases; it is called at the first step.
    """

    def __init__(
        self,
        predictor: Predictor,
        open_writer: Callable[[], ObjectStore],
        *,
        scale: LogScale,
        caller_timeout_ms: int,
    ) -> None:
        self._predictor = predictor
        self._losses = PairedLosses(predictor)
        self._open_writer = open_writer
        self._rating_range = scale.high - scale.low
        self._caller_timeout_ms = caller_timeout_ms

    def run(self, database: Database, store: ObjectStore, now: datetime) -> int:
        """Update the tables of the running experiment, decide and act; return the number of rows written.

        Raises the errors of the database and the object store.
        """
        assessed, rows = self.assess(database, store, now)
        if assessed is None:
            return rows
        rows += _write_look(database, assessed, now)
        act(self._open_writer, assessed, now)
        return rows

    def assess(
        self, database: Database, store: ObjectStore, now: datetime, *, update: bool = True
    ) -> tuple[Assessment | None, int]:
        """Update the tables and decide, without a step; return the assessment and the number of rows written.

        Without ``update`` it looks at the tables as they are, and writes nothing. The assessment is None if no
        experiment runs, or if a person runs one without a declaration.
        """
        self._predictor.refresh()
        timeline = Timeline.of_running(self._predictor.history)
        declaration = read_declaration(store, timeline.name) if timeline else None
        if timeline is None or declaration is None:
            return None, 0
        window = begun_window(declaration)
        as_of = read_as_of(database, now)
        rows = 0
        if update and as_of is not None and as_of > timeline.started:
            rules = ExposureRules(window, self._caller_timeout_ms)
            rows += update_exposures(database, timeline, rules, as_of, now)
            rows += self._losses.update(database, timeline, min(as_of, now - SETTLE))
        baselines = read_baselines(database, timeline, window, self._caller_timeout_ms, now, store=update)
        look = read_look(database, timeline, as_of, self._rating_range, baselines)
        decision = decide(declaration, look, timeline.describe_state(), now)
        return Assessment(declaration, timeline, look, decision), rows


def act(open_writer: Callable[[], ObjectStore], assessed: Assessment, now: datetime) -> Release | None:
    """Take the step that is due in one write; return its release, None if none is due or another publisher won."""
    decision, release = assessed.decision, assessed.timeline.release
    if decision.action in ("none", "hold", "wait"):
        return None
    store = open_writer()
    name, evidence = assessed.timeline.name, decision.evidence
    try:
        if decision.action == "step":
            return enrol_more(
                store,
                name,
                enrolled=min(decision.share * len(release.arms), 1.0),
                author=AUTHOR,
                reason=f"{name}: {decision.reason}",
                evidence=evidence,
                expected=release,
            )
        if decision.action == "back" and decision.alert == "harmed":
            _mark_harmful(store, assessed, now)
        return end_experiment(
            store,
            name,
            keep=decision.arm,
            author=AUTHOR,
            reason=f"{name}: {decision.reason}",
            evidence=evidence,
            expected=release,
        )
    except ReleaseChanged as error:
        _log.info("another publisher was first: %s", error)
        return None


def _mark_harmful(store: ObjectStore, assessed: Assessment, now: datetime) -> None:
    """Write a report on each harmful version, which a retraining that makes it again refuses to release."""
    limit = max(arm.e for arm in assessed.decision.arms)
    for arm in assessed.decision.arms:
        version = next(a.version for a in assessed.timeline.treatments if a.name == arm.arm)
        if arm.e < limit or version == assessed.timeline.control.version:  # Then the policy harms, not the model.
            continue
        store_report(
            store,
            GateReport(
                version=version,
                run=f"{EXPERIMENT_RUN}{assessed.timeline.name}",
                time=now,
                outcome=REFUSED,
                reason=f"experiment {assessed.timeline.name}: {assessed.decision.reason}",
                serving=assessed.timeline.control.version,
                findings=(assessed.decision.evidence,),
            ),
        )


def _write_look(database: Database, assessed: Assessment, now: datetime) -> int:
    """Write each metric of the look, and the decision, in one transaction; return the number of rows."""
    arms = assessed.decision.arms
    metrics = [metric for arm in arms for metric in (*arm.guardrails, *([arm.primary] if arm.primary else []))]
    metrics += assess_secondary(assessed.declaration, assessed.look)
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        for metric in metrics:
            cursor.execute(_WRITE_LOOK, _look_row(assessed.timeline.name, metric, now))
        cursor.execute(_WRITE_DECISION, _decision_row(assessed, now))
    return len(metrics) + 1


def _look_row(name: str, one: MetricAssessment, now: datetime) -> tuple[object, ...]:
    return (
        now, name, one.arm, one.metric, *one.users, *one.values, one.estimate, one.error, one.information,
        one.low, one.high, one.margin, one.harm, _finite(one.harm_high), one.e, one.verdict,
    )  # fmt: skip


def _decision_row(assessed: Assessment, now: datetime) -> tuple[object, ...]:
    look, decision = assessed.look, assessed.decision
    tightest = min(decision.arms, key=lambda arm: arm.room)
    sample = decision.sample
    return (
        now, assessed.timeline.name, look.release, look.as_of, decision.action, decision.share, decision.arm,
        decision.reason, decision.alert, max(arm.e for arm in decision.arms), min(tightest.room, _MAX_ROOM),
        tightest.waits_for, sample.e_requests, sample.e_impressions, sample.crossed, decision.evidence,
    )  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
