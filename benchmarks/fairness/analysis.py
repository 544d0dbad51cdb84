"""Complete fairness analysis, from training to the results for docs/fairness.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import numpy as np

from benchmarks.fairness import fair_windows, mitigations, multiplicity, provider_analysis, user_metrics
from benchmarks.fairness.fair_windows import Data, FairWindow, Floats
from benchmarks.fairness.fairness_results import FairnessAnalysis, NoiseRow, Reliability, VariantRow
from benchmarks.fairness.group_statistics import Observations, Resampling, Rows, compare_groups
from benchmarks.fairness.mitigations import MIN_USERS
from benchmarks.fairness.variants import FEWER_MEN, Variant, list_variants
from benchmarks.models.compare import describe_machine
from marquee.evaluation import offline
from marquee.evaluation.baselines import bias_baseline
from marquee.models.trainer_port import ProgressCallback
from marquee.registry.manifest import Metric
from marquee.training import provenance

_KINDS = ("gender", "age", "activity")
_NOISE_KINDS = ("gender", "age", "activity", "new or known")


def analyze(data: Data, today: date, progress: ProgressCallback) -> FairnessAnalysis:
    """Train all variants and compute every table of the page."""
    variants = list_variants(data)
    measured = [fair_windows.measure_variant(data, v.prepare, _follow(progress, v.name)) for v in variants]
    served, evaluation, seed = measured[0], data.params.evaluation, data.params.seed
    resampling = Resampling.draw(data.dataset.n_users, evaluation.resamples, seed, evaluation.interval)
    windows, holdout = served[1:], served[-1:]
    progress("groups", 0.0)
    observed = user_metrics.observe(data, windows, fair_windows.label_users)
    crossed = user_metrics.observe(data, windows, fair_windows.label_intersections)
    late = user_metrics.observe(data, holdout, fair_windows.label_users)
    providers = provider_analysis.compare_providers(data, windows, resampling)
    progress("mitigations", 0.0)
    settings = mitigations.measure_list_mitigations(data, windows, resampling, evaluation)
    settings += mitigations.measure_rating_mitigations(data, served, resampling)
    progress("mitigations", 1.0)
    return FairnessAnalysis(
        made=today.isoformat(),
        machine=describe_machine(),
        versions=provenance.library_versions(),
        seed=seed,
        data=data.dataset.sha256(),
        interval=evaluation.interval,
        resamples=evaluation.resamples,
        min_users=MIN_USERS,
        ratings=sum(len(w.split.test) for w in windows),
        n_users=len(np.unique(np.concatenate([w.split.test.users for w in windows]))),
        lists=sum(len(w.ranked) for w in windows),
        users=compare_groups(observed, resampling, MIN_USERS),
        holdout=compare_groups(late, resampling, MIN_USERS),
        intersections=compare_groups(crossed, resampling, MIN_USERS),
        providers=providers,
        holdout_providers=provider_analysis.compare_providers(data, holdout, resampling),
        ginis=provider_analysis.measure_ginis(windows, evaluation, seed),
        coverage=provider_analysis.measure_coverage(windows),
        parity=provider_analysis.measure_parity(providers),
        lorenz=provider_analysis.draw_lorenz(windows),
        reliability=_measure_reliability(windows, observed[user_metrics.RMSE]),
        noise=_measure_noise(data, windows, observed, resampling),
        variants=_compare_variants(data, variants, measured, resampling),
        mitigations=settings,
    )


def _follow(progress: ProgressCallback, name: str) -> Callable[[float], None]:
    return lambda fraction: progress(name, fraction)


def _compare_variants(
    data: Data, variants: Sequence[Variant], measured: Sequence[Sequence[FairWindow]], resampling: Resampling
) -> list[VariantRow]:
    """Return the paired differences of each variant from the served one, adjusted over the whole table."""
    quantities = [_measure_quantities(data, windows[1:], resampling) for windows in measured]
    rows: list[tuple[Variant, dict[str, Metric], dict[str, float]]] = []
    for variant, found in zip(variants[1:], quantities[1:], strict=True):
        names = [name for name in found if variant.name != FEWER_MEN or name.endswith("women")]
        differences = {name: _subtract(found[name], quantities[0][name]) for name in names}
        metrics = {name: resampling.metric(*pair) for name, pair in differences.items()}
        p_values = {name: multiplicity.bootstrap_p_value(*pair) for name, pair in differences.items()}
        rows.append((variant, metrics, p_values))
    adjusted = iter(multiplicity.adjust_holm([p for _, _, p_values in rows for p in p_values.values()]))
    return [
        VariantRow(variant.name, variant.note, metrics, {name: next(adjusted) for name in p_values})
        for variant, metrics, p_values in rows
    ]


def _measure_quantities(
    data: Data, windows: Sequence[FairWindow], resampling: Resampling
) -> dict[str, tuple[float, Floats]]:
    """Return RMSE and NDCG of all users and of women, and the gaps by kind, each with its samples."""
    observed = user_metrics.observe(data, windows, fair_windows.label_users)
    found = {}
    for name in (user_metrics.RMSE, user_metrics.NDCG):
        metric = observed[name]
        women = np.array(metric.labels["gender"]) == "F"
        found[name] = resampling.ratios(metric, np.ones(len(women), bool))
        found |= {f"{name} gap, {kind}": mitigations.measure_gap(metric, kind, resampling) for kind in _KINDS}
        found[f"{name}, women"] = resampling.ratios(metric, women)
    return found


def _subtract(first: tuple[float, Floats], second: tuple[float, Floats]) -> tuple[float, Floats]:
    return first[0] - second[0], first[1] - second[1]


def _measure_reliability(windows: Sequence[FairWindow], observed: Observations) -> list[Reliability]:
    """Return mean prediction and mean rating in fifths of the predictions, by gender and for new and known users."""
    predicted = np.concatenate([w.predicted for w in windows])
    given = np.concatenate([w.split.test.values for w in windows])
    found = []
    for kind, groups in {"gender": ("F", "M"), "new or known": ("known", "new")}.items():
        for group in groups:
            rows = np.flatnonzero(np.array(observed.labels[kind]) == group)
            parts = np.array_split(rows[np.argsort(predicted[rows], kind="stable")], 5)
            found.append(
                Reliability(
                    group, *([float(v[part].mean()) for part in parts if len(part)] for v in (predicted, given))
                )
            )
    return found


def _measure_noise(
    data: Data, windows: Sequence[FairWindow], metrics: Mapping[str, Observations], resampling: Resampling
) -> list[NoiseRow]:
    """Return, by group, the spread of the ratings around each user's mean, and the RMSE of two models."""
    observed, ndcg = metrics[user_metrics.RMSE], metrics[user_metrics.NDCG]
    test = [w.split.test for w in windows]
    given, users = np.concatenate([t.values for t in test]), np.concatenate([t.users for t in test])
    simple = np.concatenate([offline.predict(bias_baseline(w.split.train), w.split.test) for w in windows])
    means = np.bincount(users, given) / np.maximum(np.bincount(users), 1)
    popular = np.concatenate([w.popular_ndcg for w in windows])
    train = windows[-1].split.train.ratings

    def measure(rows: Observations, sums: Floats, members: Rows, *, root: bool) -> Metric:
        counted = Observations(rows.users, sums, np.ones(len(sums)), {}, root)
        return resampling.metric(*resampling.ratios(counted, members))

    found = []
    for kind in _NOISE_KINDS:
        labels, listed = np.array(observed.labels[kind]), np.array(ndcg.labels[kind])
        learned = np.array(fair_windows.label_users(data, windows[-1], train.users)[kind])
        for group in np.unique(labels):
            members, ranked = labels == group, listed == group
            if len(np.unique(users[members])) < MIN_USERS or not ranked.any():
                continue
            found.append(
                NoiseRow(
                    kind,
                    str(group),
                    measure(observed, (given - means[users]) ** 2, members, root=True),
                    measure(observed, (simple - given) ** 2, members, root=True),
                    measure(observed, observed.sums, members, root=True),
                    int(members.sum()),
                    float((learned == group).mean()),
                    measure(ndcg, popular, ranked, root=False),
                    measure(ndcg, ndcg.sums - popular, ranked, root=False),
                )
            )
    return found
