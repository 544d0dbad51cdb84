"""Conclusions in words, generated from intervals and p-values. Results that are not significant are stated as such."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.fairness.fairness_results import FairnessAnalysis, GroupRow, MitigationRow, VariantRow
from benchmarks.fairness.mitigations import CALIBRATED, LISTS, NONE, QUOTA, RATINGS
from benchmarks.fairness.user_metrics import BIAS, COVERAGE, LIFT, MISCALIBRATION, NDCG, RMSE
from benchmarks.fairness.variants import FEATURES, FEWER_MEN
from marquee.cli.text_table import difference_text, interval_text
from marquee.registry.manifest import Metric

LEVEL = 0.05
_WORSE = {RMSE: 1, NDCG: -1, COVERAGE: -1, MISCALIBRATION: 1}
"""Sign of a difference that harms a group."""
_NAMES = {
    RMSE: "RMSE",
    BIAS: "mean error of predicted ratings",
    COVERAGE: "coverage of prediction intervals",
    NDCG: "NDCG@10",
    LIFT: "popularity lift",
    MISCALIBRATION: "miscalibration of the lists",
}


def summarize(results: FairnessAnalysis) -> list[str]:
    """Return the conclusions, one or two sentences for each question."""
    return [
        _user_summary(results.users),
        _provider_summary(results),
        _cause_summary(results),
        _cost_summary(results.mitigations),
    ]


def describe_metric(rows: Sequence[GroupRow], metric: str) -> str:
    """Return which groups differ from all other users in ``metric``."""
    found = find_significant(rows, metric)
    name = _NAMES[metric]
    if not found:
        tested = sum(metric in row.p_values for row in rows)
        text = f"**{name}**: no group differs from all other users ({tested} differences tested, none significant)."
    else:
        text = f"**{name}** differs for: {_list_rows(found, metric)}."
    doubtful = [row for row in rows if row not in found and _excludes_zero(row.differences.get(metric))]
    if not doubtful:
        return text
    return (
        f"{text} Not significant after the adjustment, though the interval excludes 0: {_list_rows(doubtful, metric)}."
    )


def find_significant(rows: Sequence[GroupRow], metric: str) -> list[GroupRow]:
    """Return the rows whose difference is significant; of a kind of two groups both are."""
    return [row for row in rows if row.p_values.get(metric, 1.0) < LEVEL]


def find_harmed(rows: Sequence[GroupRow]) -> list[tuple[GroupRow, str]]:
    """Return the groups that are significantly worse off, each with the metric."""
    return [
        (row, metric)
        for metric, sign in _WORSE.items()
        for row in find_significant(rows, metric)
        if row.differences[metric].value * sign > 0
    ]


def describe_causes(results: FairnessAnalysis) -> list[str]:
    """Return a sentence for each variant, and one on how predictable the groups are."""
    return [*(_describe_variant(row) for row in results.variants), *_describe_noise(results)]


def _user_summary(rows: Sequence[GroupRow]) -> str:
    harmed, doubtful = find_harmed(rows), _find_doubtful(rows)
    text = (
        f"**Users.** Worse off than all other users: {_list_harmed(harmed)}."
        if harmed
        else "**Users.** No group of users is significantly worse off in error, lists, coverage or calibration."
    )
    if doubtful:
        text += f" In doubt, because the interval excludes 0 and the adjusted test does not: {_list_harmed(doubtful)}."
    return text


def _find_doubtful(rows: Sequence[GroupRow]) -> list[tuple[GroupRow, str]]:
    """Return the groups by gender and age that are worse off by the interval and not by the adjusted test."""
    return [
        (row, metric)
        for metric in (RMSE, NDCG)
        for row in rows
        if row.kind in ("gender", "age")
        and row.p_values.get(metric, 0.0) >= LEVEL
        and _excludes_zero(row.differences.get(metric))
        and row.differences[metric].value * _WORSE[metric] > 0
    ]


def _list_harmed(found: Sequence[tuple[GroupRow, str]]) -> str:
    return "; ".join(
        f"{row.kind} *{row.group}* ({_NAMES[metric]} {difference_text(row.differences[metric])})"
        for row, metric in found
    )


def _provider_summary(results: FairnessAnalysis) -> str:
    gini, merit = results.ginis["exposure"], results.ginis["merit"]
    unequal = [row for row in results.providers if row.p_merit < LEVEL]
    less = [f"*{r.group}*" for r in unequal if r.exposure.value < r.merit.value]
    more = [f"*{r.group}*" for r in unequal if r.exposure.value > r.merit.value]
    is_more = gini.low is not None and gini.low > merit.value
    text = (
        f"**Movies.** Exposure is {'' if is_more else 'not shown to be '}more concentrated "
        f"(Gini {interval_text(gini)}) than what users like ({merit.value:.3f}); "
    )
    text += f"{100 * results.coverage:.0f} % of the catalog is in any list. "
    if not unequal:
        return text + "No group of movies has significantly more or less exposure than merit."
    return text + f"Less exposure than merit: {_join(less)}. More: {_join(more)}."


def _cause_summary(results: FairnessAnalysis) -> str:
    changed = [
        f"{name} ({variant.name}, {difference_text(variant.differences[name])})"
        for variant in results.variants
        for name, p_value in variant.p_values.items()
        if p_value < LEVEL and " gap, " in name
    ]
    if changed:
        return f"**Why.** Training changes these gaps: {_join(changed)}. The other gaps stay under every ablation."
    return (
        "**Why.** No ablation changes a gap significantly: neither features that name a group nor the imbalance of the "
        "data are shown to cause one. What is left is how predictable a group's ratings are, below."
    )


def _cost_summary(rows: Sequence[MitigationRow]) -> str:
    parts = [
        describe_cheapest(rows, family, name)
        for family, name in ((CALIBRATED, "miscalibration"), (QUOTA, "tail exposure"))
    ]
    return "**Mitigations.** " + " ".join([*parts, _rating_cost(rows)])


def describe_cheapest(rows: Sequence[MitigationRow], family: str, effect: str) -> str:
    """Return the strongest setting of a family without a significant loss of NDCG, and the weakest with one."""
    served = next(row for row in rows if row.plot == LISTS and row.family == NONE)
    settings = [row for row in rows if row.family == family]
    free = [row for row in settings if not (row.cost.high is not None and row.cost.high < 0)]
    if free:
        row = free[-1]
        return (
            f"{family.capitalize()} ({row.name}) changes the {effect} from {served.others[effect]:.3f} to "
            f"{row.others[effect]:.3f} without a significant loss of NDCG@10: {difference_text(row.cost)}."
        )
    row = settings[0]
    return (
        f"Every setting of the {family} costs NDCG@10; the weakest ({row.name}) {difference_text(row.cost)}, for a "
        f"change of the {effect} from {served.others[effect]:.3f} to {row.others[effect]:.3f}."
    )


def _rating_cost(rows: Sequence[MitigationRow]) -> str:
    served = next(row for row in rows if row.plot == RATINGS and row.family == NONE)
    others = [row for row in rows if row.plot == RATINGS and row.family != NONE]
    best = min(others, key=lambda row: row.unfairness.value)
    separate = (
        best.unfairness.high is not None
        and served.unfairness.low is not None
        and best.unfairness.high < served.unfairness.low
    )
    verdict = "" if separate else ", within the interval of the gap: no effect is shown"
    return (
        f"Of the group corrections, {best.name} has the smallest gap of RMSE: {best.unfairness.value:.3f} instead of "
        f"{served.unfairness.value:.3f}{verdict}. It changes the RMSE by {difference_text(best.cost, 4)}."
    )


def _describe_variant(row: VariantRow) -> str:
    changed = [f"{name} {difference_text(row.differences[name])}" for name, p in row.p_values.items() if p < LEVEL]
    result = f"changes {_join(changed)}" if changed else "changes nothing significantly"
    reading = {
        FEATURES: "Features that name a group are not shown to widen or to close a gap."
        if not any(" gap, " in name for name in changed)
        else "Features that name a group would have a part in its gap.",
        FEWER_MEN: "Fewer men are not shown to help or harm women."
        if not changed
        else "How many men are in the data matters to women.",
    }.get(
        row.name,
        "More weight for the small groups does not close a gap: the imbalance is not shown to be the cause."
        if not any(" gap, " in name for name in changed)
        else "The weight of the groups in the data has a part in a gap.",
    )
    return f"**{row.name[0].upper()}{row.name[1:]}** ({row.note}) {result}. {reading}"


def _describe_noise(results: FairnessAnalysis) -> list[str]:
    """Return, by kind, if the group of the highest RMSE is also the one with the widest ratings."""
    sentences = []
    for kind in dict.fromkeys(row.kind for row in results.noise):
        rows = [row for row in results.noise if row.kind == kind]
        worst, widest = max(rows, key=lambda r: r.served.value), max(rows, key=lambda r: r.bias_only.value)
        same = "also" if worst.group == widest.group else "not"
        sentences.append(
            f"By {kind}, *{worst.group}* has the highest RMSE ({interval_text(worst.served)}) with "
            f"{100 * worst.training_share:.0f} % of the training ratings; it is {same} the group that the model "
            f"without interaction predicts worst ({interval_text(worst.bias_only)})."
        )
    return [*sentences, *_describe_gains(results)]


def _describe_gains(results: FairnessAnalysis) -> list[str]:
    """Return, for each group with worse lists, if the list that is the same for all users is as bad for it."""
    worse = {(row.kind, row.group) for row, metric in find_harmed(results.users) if metric == NDCG}
    sentences = []
    for row in results.noise:
        if (row.kind, row.group) in worse and row.popular_ndcg and row.ndcg_gain:
            gain = row.ndcg_gain
            if gain.low is not None and gain.low > 0:
                reading = "the served lists are better for it than the popular list, so the model does not harm it"
            elif gain.high is not None and gain.high < 0:
                reading = "the served lists are worse for it than the popular list, so the model does harm it"
            else:
                reading = "the served lists are not shown to be better or worse for it than the popular list"
            sentences.append(
                f"By {row.kind}, *{row.group}* has worse lists than others; the popular list has an NDCG@10 of "
                f"{interval_text(row.popular_ndcg)} for it, the served ones differ by {difference_text(gain)}: "
                f"{reading}."
            )
    return sentences


def _list_rows(rows: Sequence[GroupRow], metric: str) -> str:
    return "; ".join(f"{row.kind} *{row.group}* {difference_text(row.differences[metric])}" for row in rows)


def _excludes_zero(metric: Metric | None) -> bool:
    return metric is not None and metric.excludes_zero


def _join(parts: Sequence[str]) -> str:
    return ", ".join(parts) or "none"
