"""The decision to release a new model (docs/retraining.md, docs/decisions/0005-the-gate.md).

:func:`decide_release` is the whole decision. The step ``publish`` collects the evidence and acts on the
decision; the paired tests behind the comparisons are in :mod:`marquee.evaluation.paired_test`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.evaluation.paired_test import PairedComparison, Significance
from marquee.registry.artifact import verify_artifact
from marquee.registry.gate_report import EXPERIMENT_RUN, load_reports
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import PAUSED, Release

RELEASED, HELD, TRAINED, REFUSED = "released", "held", "trained", "refused"
_EVENT_TIME_LENGTH = len("20261123T160000")  # A version begins with the event time of its newest event.


@dataclass(frozen=True, slots=True)
class Evidence:
    """Test results of one model.

    ``fault`` says why the stored artifact must not serve, "" if it may. ``drift`` holds the findings of the
    data check. ``serving`` is the version that the model was compared with, "" for none; ``notes`` say why a
    comparison is missing.
    """

    fault: str = ""
    comparisons: tuple[PairedComparison, ...] = ()
    drift: tuple[str, ...] = ()
    serving: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """Outcome, reason in one sentence, and the evidence, which is empty if the decision needed none."""

    outcome: str
    reason: str
    evidence: Evidence = Evidence()


def decide_release(
    version: str,
    current: Release | None,
    collect_evidence: Callable[[], Evidence],
    *,
    releasing: bool,
    force: bool = False,
) -> Decision:
    """Decide whether the artifact ``version`` replaces the release ``current``.

    The first rule that applies decides:

    1. A model of newer events serves alone: refused. Of concurrent retrainings the one with the newest events
       wins, whichever ends last. No evidence is collected, since comparing may train a model.
    2. There are objections: the artifact fails its checks, the model is worse than a baseline or than what
       serves, or its data have drifted: refused.
    3. The model is not meant to be released (``releasing`` is false): trained.
    4. Several arms serve: held. A new model in one of them would end the experiment without a result.
    5. A rollback has paused automatic releases, and this one is not forced: refused.
    6. Otherwise: released, by a canary if one was declared and a model serves.

    A comparison without a clear result is no objection.
    """
    if releasing and (newer := _newer_release(current, version)):
        return Decision(
            REFUSED,
            f"release {newer.number} serves a model of events up to {_event_time(newer.arms[0].version)}, "
            f"newer than {version}; `marquee release promote {version}` serves it all the same",
        )
    evidence = collect_evidence()
    if objections := list_objections(evidence):
        return Decision(REFUSED, "; ".join(objections), evidence)
    if not releasing:
        return Decision(TRAINED, "not to be released", evidence)
    if current and len(current.arms) > 1:
        arms = ", ".join(f"{arm.name} {arm.weight * current.enrolled:.4g}" for arm in current.arms)
        return Decision(
            HELD,
            f"release {current.number} is an experiment ({arms}), which goes on; {version} is stored, and "
            f"`marquee release promote {version}` ends the experiment and serves it",
            evidence,
        )
    if current and current.paused and not force:
        return Decision(
            REFUSED,
            f"{PAUSED} (release {current.number}: {current.reason or 'no reason'}); {version} is stored, and "
            f"`marquee release promote {version}` or `marquee retrain --force` releases nevertheless",
            evidence,
        )
    return Decision(RELEASED, "no objections", evidence)


def list_objections(evidence: Evidence) -> list[str]:
    """Return each reason against the model, one sentence each."""
    worse = [str(c) for c in evidence.comparisons if c.verdict is Significance.WORSE]
    return [*([evidence.fault] if evidence.fault else []), *worse, *evidence.drift]


def find_fault(store: ObjectStore, version: str) -> str:
    """Verify hashes, shapes and smoke test of a stored artifact; return its fault, or "" for none.

    A version that an experiment has found harmful has that fault for good.
    """
    for report in load_reports(store, version):
        if report.outcome == REFUSED and report.run.startswith(EXPERIMENT_RUN):
            return report.reason
    try:
        verify_artifact(store, version)
    except (ArtifactRefused, ObjectNotFound) as error:
        return str(error)
    return ""


def _newer_release(current: Release | None, version: str) -> Release | None:
    """Return ``current`` if its only arm serves a model of newer events than ``version``."""
    if current is None or len(current.arms) > 1:
        return None
    return current if is_older(version, current.arms[0].version) else None


def is_older(version: str, other: str) -> bool:
    """Return whether the newest event of ``version`` is older than that of ``other``."""
    return _event_time(version) < _event_time(other)


def _event_time(version: str) -> str:
    return version[:_EVENT_TIME_LENGTH]
