"""The evidence line: the numbers of one look, for the release document and the table of decisions."""

from __future__ import annotations

from collections.abc import Sequence

from marquee.experiments.assessment import ArmAssessment, MetricAssessment, SampleAssessment
from marquee.experiments.declaration import Declaration
from marquee.experiments.look import Look


def describe_evidence(
    declaration: Declaration, look: Look, arms: Sequence[ArmAssessment], sample: SampleAssessment, reason: str
) -> str:
    """Return one line: the reason, the time of the look, and every number that the decision rests on."""
    as_of = f"{look.as_of:%Y-%m-%dT%H:%M:%SZ}" if look.as_of else "no record"
    parts = [
        reason,
        f"as of {as_of}, release {look.release}, declaration {declaration.digest()}",
        *(_describe_arm(arm) for arm in arms),
        f"sample ratio e {sample.e_requests:.3g} and {sample.e_impressions:.3g}, {sample.crossed:.2%} in two arms",
    ]
    return "; ".join(parts)


def _describe_arm(arm: ArmAssessment) -> str:
    metrics = [_describe_metric(one) for one in arm.guardrails]
    if arm.primary:
        metrics.append(f"primary {_describe_primary(arm.primary)}")
    return f"{arm.arm}: {', '.join(metrics)}, mean e {arm.e:.3g}, room {arm.room:.3g}"


def _describe_metric(one: MetricAssessment) -> str:
    if one.margin is None:
        return f"{one.metric} without a baseline"
    return f"{one.metric} harm {one.harm:.3g} at most {one.harm_high:.3g} of {one.margin:.3g} (e {one.e:.3g})"


def _describe_primary(one: MetricAssessment) -> str:
    interval = "" if one.low is None or one.high is None else f" within {one.low:.3g} and {one.high:.3g}"
    return f"{one.metric} {one.estimate:.3g}{interval} ({one.verdict})"
