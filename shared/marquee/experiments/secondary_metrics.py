"""Secondary metrics: measured metrics other than guardrails and the primary metric, and their selection by e-BH."""

from __future__ import annotations

import math

import msgspec

from marquee.experiments.assessment import MetricAssessment
from marquee.experiments.declaration import Declaration
from marquee.experiments.exact_tests import select_by_e_values
from marquee.experiments.harm_metrics import METRICS
from marquee.experiments.look import Look
from marquee.experiments.ratio_estimates import estimate_difference, ratio
from marquee.experiments.sequences import log_e_difference, to_e_value, two_sided_radius

EFFECT = 0.05
"""Effect to which the sequences are tuned, as a fraction of control's value; none is declared."""
DIFFERS, UNDECIDED = "differs", "undecided"
"""Verdicts: selected by e-BH, which rejects equality, or not."""


def assess_secondary(declaration: Declaration, look: Look) -> list[MetricAssessment]:
    """Return the secondary metrics of all arms at this look, selected at a false discovery rate of 5 %."""
    if declaration.kind == "interleaving":  # Users of both arms get the same lists.
        return []
    used = {*declaration.guardrails, *([declaration.primary.metric] if declaration.primary else [])}
    names = [name for name, metric in METRICS.items() if metric.kind == "ratio" and name not in used]
    found = {
        (name, arm): _assess(look.sums[name][declaration.control], look.sums[name][arm], name, arm)
        for name in names
        for arm in declaration.treatments
        if declaration.control in look.sums.get(name, {}) and arm in look.sums[name]
    }
    log_e = {f"{name} {arm}": value for (name, arm), (_, value) in found.items()}
    selected = set(select_by_e_values(log_e))
    return [
        msgspec.structs.replace(metric, verdict=DIFFERS if f"{name} {arm}" in selected else UNDECIDED)
        for (name, arm), (metric, _) in found.items()
    ]


def _assess(
    control: tuple[float, ...], treatment: tuple[float, ...], name: str, arm: str
) -> tuple[MetricAssessment, float]:
    """Return the metric, not yet selected, and the logarithm of its e-value, which is that of any difference."""
    estimate = estimate_difference(control, treatment)
    old, new = float(ratio(control).value), float(ratio(treatment).value)
    tau = EFFECT * (abs(old) or 1.0)
    value, information = float(estimate.value), float(estimate.information)
    radius = float(two_sided_radius(information, tau)) if information else None
    log_e = float(log_e_difference(estimate, tau))
    metric = MetricAssessment(
        metric=name,
        arm=arm,
        users=(control[0], treatment[0]),
        values=(old, new),
        estimate=value,
        error=information**-0.5 if information else None,
        information=information,
        low=None if radius is None else value - radius,
        high=None if radius is None else value + radius,
        margin=None,
        worst=math.inf,
        harm=value * METRICS[name].harm,
        harm_high=math.inf,
        e=to_e_value(log_e),
        verdict=UNDECIDED,
    )
    return metric, log_e
