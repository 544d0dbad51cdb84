"""Assessment of a look: estimate, confidence sequence and e-value of each metric, and validity of the split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from marquee.experiments.declaration import Declaration, Margin
from marquee.experiments.exact_tests import SAMPLE_RATIO_LIMIT, log_e_coin, log_e_sample_ratio
from marquee.experiments.harm_metrics import METRICS, HarmMetric
from marquee.experiments.look import Counts, Look
from marquee.experiments.ratio_estimates import Estimate, estimate_difference, ratio
from marquee.experiments.sequences import (
    ALPHA,
    half_and_end,
    log_e_harm_mixed,
    log_mean_exp,
    one_sided_radius,
    to_e_value,
    two_sided_radius,
)

MAX_CROSSED = 0.01
"""Fraction of users seen in two arms above which the assignment counts as broken."""
ONE_FAILURE = np.ones(6)
"""Sums of one added user with one failed request, without which an arm without failures would have variance 0."""
_NO_DATA = (0.0,) * 6


class MetricAssessment(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of one arm compared with control, in the units of the metric; a row of ``experiment_looks``.

    ``low`` and ``high`` are the bounds of the two-sided confidence sequence. ``harm`` is the estimate with the sign by
    which larger is worse, and ``harm_high`` its always-valid upper bound, at most ``worst``. The ``verdict`` of a
    guardrail is `fine` if ``harm_high < margin``, else `open`; harm is decided over all guardrails together
    (:class:`ArmAssessment`). The ``verdict`` of the primary metric is `better`, `worse` or `open`. Bounds are None
    while there is no information.
    """

    metric: str
    arm: str
    users: tuple[float, float]  # Control, arm.
    values: tuple[float, float]  # Control, arm; of a paired metric, (0, difference).
    estimate: float
    error: float | None  # Standard error.
    information: float
    low: float | None
    high: float | None
    margin: float | None
    worst: float
    harm: float
    harm_high: float
    e: float
    verdict: str


class ArmAssessment(msgspec.Struct, frozen=True, kw_only=True):
    """All metrics of one arm, the mean e-value of harm, and ``room``, the largest share at which harm is bounded."""

    arm: str
    guardrails: tuple[MetricAssessment, ...]
    primary: MetricAssessment | None
    e: float
    room: float
    waits_for: str

    @property
    def fine(self) -> bool:
        """Return True if every guardrail excludes a harm of its margin."""
        return all(one.verdict in ("fine", "silent") for one in self.guardrails)


class SampleAssessment(msgspec.Struct, frozen=True, kw_only=True):
    """Validity of the split: e-values of the sample ratio by requests and by impressions, and fraction in two arms."""

    e_requests: float
    e_impressions: float
    crossed: float

    @property
    def sound(self) -> bool:
        """Return True if the split is valid, so that the metrics can be trusted."""
        return max(self.e_requests, self.e_impressions) < SAMPLE_RATIO_LIMIT and self.crossed <= MAX_CROSSED


def assess_sample(declaration: Declaration, look: Look) -> SampleAssessment:
    """Return the validity of the split into arms of equal weight."""
    total = sum(look.users.values())
    return SampleAssessment(
        e_requests=_sample_ratio(declaration, look.users),
        e_impressions=_sample_ratio(declaration, look.impressed),
        crossed=look.crossed / total if total else 0.0,
    )


def assess_arm(declaration: Declaration, look: Look, arm: str, *, at_end: bool) -> ArmAssessment:
    """Return the assessment of one arm. The error over several arms is controlled jointly (Bonferroni)."""
    alpha = ALPHA / len(declaration.treatments)
    guardrails = tuple(
        _assess_guardrail(declaration, look, arm, metric, rail.margin, alpha)
        for metric, rail in declaration.guardrails.items()
    )
    log_e = float(log_mean_exp([math.log(max(one.e, 1e-300)) for one in guardrails]))
    rooms = {one.metric: _room(one) for one in guardrails if one.verdict != "silent"}
    tightest = min(rooms, key=rooms.__getitem__, default="")
    return ArmAssessment(
        arm=arm,
        guardrails=guardrails,
        primary=_assess_primary(declaration, look, arm, alpha, at_end=at_end),
        e=to_e_value(log_e),
        room=rooms.get(tightest, math.inf),
        waits_for=tightest,
    )


def resolve_margin(margin: Margin, metric: str, look: Look, control_value: float) -> float | None:
    """Return the margin in the units of the metric; None if it is relative and there is no baseline.

    A fraction f of RMSE is ``(1 + f)^2 - 1`` of the mean squared error.
    """
    if not margin.relative:
        return margin.value
    baseline = look.baselines.get(metric, 0.0) or control_value
    if baseline <= 0:
        return None
    return baseline * ((1 + margin.value) ** 2 - 1 if metric == "rates" else margin.value)


def _sample_ratio(declaration: Declaration, counts: Counts) -> float:
    users = [counts.get(arm, 0) for arm in declaration.arms]
    return to_e_value(float(log_e_sample_ratio(users, np.full(len(users), 1 / len(users)))))


class _Measured(NamedTuple):
    """A metric of one arm before it is judged. ``margin`` is None without a baseline."""

    name: str
    arm: str
    users: tuple[float, float]
    values: tuple[float, float]
    estimate: Estimate
    harm: Estimate
    margin: float | None
    worst: float

    def bound_harm(self, alpha: float) -> float:
        """Return the upper bound of the harm, at most the worst."""
        if self.margin is None:
            return self.worst
        radius = one_sided_radius(self.harm.information, self.margin, alpha)
        return min(float(self.harm.value + radius), self.worst)

    def judge(self, alpha: float, e: float, verdict: str) -> MetricAssessment:
        """Return the assessment with its sequence."""
        value, information = float(self.estimate.value), float(self.estimate.information)
        known = self.margin is not None and information > 0
        radius = float(two_sided_radius(information, self.margin or 1.0, alpha))
        return MetricAssessment(
            metric=self.name,
            arm=self.arm,
            users=self.users,
            values=self.values,
            estimate=value,
            error=information**-0.5 if information else None,
            information=information,
            low=value - radius if known else None,
            high=value + radius if known else None,
            margin=self.margin,
            worst=self.worst,
            harm=float(self.harm.value),
            harm_high=self.bound_harm(alpha),
            e=e,
            verdict=verdict,
        )


def _measure(declaration: Declaration, look: Look, arm: str, name: str, margin: Margin) -> _Measured:
    metric = METRICS[name]
    samples = _samples(declaration, look, arm, name)
    estimate, values = _estimate(metric, samples)
    return _Measured(
        name=name,
        arm=arm,
        users=(samples[0][0], samples[-1][0]),
        values=values,
        estimate=estimate,
        harm=Estimate(estimate.value * metric.harm, estimate.variance),
        margin=resolve_margin(margin, name, look, values[0]),
        worst=_worst(name, look, values[0]),
    )


def _assess_guardrail(
    declaration: Declaration, look: Look, arm: str, name: str, margin: Margin, alpha: float
) -> MetricAssessment:
    found, metric = _measure(declaration, look, arm, name, margin), METRICS[name]
    if found.margin is None:
        return found.judge(alpha, 1.0, "open")
    if metric.kind == "coin":
        log_e = log_e_coin(look.failed.get(arm, 0), look.failed.get(declaration.control, 0))
    else:
        log_e = log_e_harm_mixed(found.harm, found.margin, found.worst)
    silent = metric.silent and not float(found.harm.information)
    verdict = "silent" if silent else "fine" if found.bound_harm(alpha) < found.margin else "open"
    return found.judge(alpha, to_e_value(float(log_e)), verdict)


def _assess_primary(
    declaration: Declaration, look: Look, arm: str, alpha: float, *, at_end: bool
) -> MetricAssessment | None:
    primary = declaration.primary
    if primary is None:
        return None
    found = _measure(declaration, look, arm, primary.metric, primary.effect)
    if found.margin is None:
        return found.judge(alpha, 1.0, "open")
    sign = int(half_and_end(found.harm, found.margin, at_end=at_end, alpha=alpha))
    e = to_e_value(float(log_e_harm_mixed(found.harm, found.margin, found.worst)))
    return found.judge(alpha, e, {-1: "better", 0: "open", 1: "worse"}[sign])


def _samples(declaration: Declaration, look: Look, arm: str, name: str) -> list[tuple[float, ...]]:
    """Return the sums of control and of the arm, or of the arm alone if the metric is paired."""
    by_arm = look.sums.get(name, {})
    arms = (arm,) if METRICS[name].kind == "paired" else (declaration.control, arm)
    return [by_arm.get(one, _NO_DATA) for one in arms]


def _estimate(metric: HarmMetric, samples: Sequence[tuple[float, ...]]) -> tuple[Estimate, tuple[float, float]]:
    """Return the estimate, and the values of control and of the arm."""
    if metric.kind == "paired":
        estimate = ratio(samples[0])
        return estimate, (0.0, float(estimate.value))
    smoothed = ONE_FAILURE if metric.kind == "coin" else np.zeros(len(samples[0]))
    control, treatment = (np.asarray(sums)[: len(smoothed)] for sums in samples)
    estimate = estimate_difference(control + smoothed, treatment + smoothed)
    return estimate, (float(ratio(control).value), float(ratio(treatment).value))


def _worst(name: str, look: Look, control_value: float) -> float:
    if name == "rates":
        return look.rating_range**2
    worst = METRICS[name].worst
    return worst if worst is not None else look.baselines.get(name, 0.0) or control_value or math.inf


def _room(guardrail: MetricAssessment) -> float:
    """Return the share of users in the arm at which the mean harm over all users is at most the margin."""
    if guardrail.margin is None:
        return 0.0
    return guardrail.margin / guardrail.harm_high if guardrail.harm_high > 0 else math.inf
