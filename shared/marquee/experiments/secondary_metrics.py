"""Secondary metrics: measured metrics other than guardrails and the primary metric, and their selection by e-BH."""

from __future__ import annotations

import msgspec

from marquee.experiments.declaration import Declaration
from marquee.experiments.exact_tests import select_by_e_values
from marquee.experiments.harm_metrics import METRICS
from marquee.experiments.look import Look
from marquee.experiments.ratio_estimates import estimate_difference, ratio
from marquee.experiments.sequences import log_e_difference, to_e_value, two_sided_radius

EFFECT = 0.05
"""Effect to which the sequences are tuned, as a fraction of control's value; none is declared."""


class SecondaryMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of one arm compared with control. ``selected``: e-BH rejects equality.

    ``low`` and ``high`` are the bounds of the confidence sequence, None without information. ``users`` and ``values``
    are of control and of the arm.
    """

    metric: str
    arm: str
    users: tuple[float, float]
    values: tuple[float, float]
    estimate: float
    information: float
    low: float | None
    high: float | None
    e: float
    selected: bool


def assess_secondary(declaration: Declaration, look: Look) -> list[SecondaryMetric]:
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
        msgspec.structs.replace(metric, selected=f"{name} {arm}" in selected)
        for (name, arm), (metric, _) in found.items()
    ]


def _assess(
    control: tuple[float, ...], treatment: tuple[float, ...], name: str, arm: str
) -> tuple[SecondaryMetric, float]:
    """Return the metric, not yet selected, and the logarithm of its e-value."""
    estimate = estimate_difference(control, treatment)
    old, new = float(ratio(control).value), float(ratio(treatment).value)
    tau = EFFECT * (abs(old) or 1.0)
    value, information = float(estimate.value), float(estimate.information)
    radius = float(two_sided_radius(information, tau)) if information else None
    log_e = float(log_e_difference(estimate, tau))
    metric = SecondaryMetric(
        metric=name,
        arm=arm,
        users=(control[0], treatment[0]),
        values=(old, new),
        estimate=value,
        information=information,
        low=None if radius is None else value - radius,
        high=None if radius is None else value + radius,
        e=to_e_value(log_e),
        selected=False,
    )
    return metric, log_e
