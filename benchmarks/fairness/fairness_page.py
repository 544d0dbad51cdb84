"""Generation of docs/fairness.md and its charts; equal results give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from benchmarks import report_files
from benchmarks.fairness import fairness_charts, findings
from benchmarks.fairness.fairness_results import FairnessAnalysis, GroupRow, MitigationRow, ProviderRow
from benchmarks.fairness.mitigations import LISTS, RATINGS
from benchmarks.fairness.user_metrics import BIAS, COVERAGE, LIFT, MISCALIBRATION, NDCG, RMSE
from marquee.cli.text_table import difference_text, interval_text, markdown_table
from marquee.registry.manifest import Metric

RESULTS, PAGE, CHARTS = Path("reports/fairness_analysis.json"), Path("docs/fairness.md"), Path("docs/fairness")
_TEMPLATE = Path(__file__).with_name("fairness.md.template")
_METRICS = (RMSE, BIAS, NDCG, COVERAGE)
_LIST_METRICS = (LIFT, MISCALIBRATION)


def write_results(root: Path, results: FairnessAnalysis) -> None:
    """Write the results below ``root``, where :func:`write_page` reads them."""
    report_files.write_results(root / RESULTS, results)


def write_page(root: Path) -> list[Path]:
    """Write the page and the charts from the results below ``root``; return their paths."""
    results = msgspec.json.decode((root / RESULTS).read_bytes(), type=FairnessAnalysis)
    return report_files.write_files(root, render_files(results))


def render_files(results: FairnessAnalysis) -> dict[Path, str]:
    """Return the content of the page and of each chart, by path."""
    charts = fairness_charts.draw_charts(results)
    return {PAGE: render_page(results)} | {CHARTS / name: svg for name, svg in charts.items()}


def render_page(results: FairnessAnalysis) -> str:
    """Return the page as Markdown."""
    return _TEMPLATE.read_text().format(
        **results.describe(),
        min_users=results.min_users,
        ratings=f"{results.ratings:,}",
        n_users=results.n_users,
        lists=results.lists,
        conclusion="\n".join(f"- {sentence}" for sentence in findings.summarize(results)),
        user_findings=_describe(results.users, (*_METRICS, *_LIST_METRICS)),
        users=_group_table(results.users, _METRICS),
        list_users=_group_table(results.users, _LIST_METRICS),
        holdout=_group_table(results.holdout, _METRICS),
        holdout_findings=_describe(results.holdout, _METRICS),
        intersections=_group_table(_large(results.intersections, results.min_users), (RMSE, NDCG)),
        small=_list_small(results),
        intersection_findings=_describe(results.intersections, (RMSE, NDCG)),
        ginis="\n".join(f"| {name} | {interval_text(metric)} |" for name, metric in results.ginis.items()),
        coverage=f"{100 * results.coverage:.1f} %",
        parity="\n".join(f"| {kind} | {value:.3f} |" for kind, value in results.parity.items()),
        providers=_provider_table(results.providers),
        holdout_providers=_provider_table(results.holdout_providers),
        causes="\n".join(f"- {sentence}" for sentence in findings.describe_causes(results)),
        variants=_variant_table(results),
        noise=_noise_table(results),
        list_mitigations=_mitigation_table(results.mitigations, LISTS, ("NDCG@10", "Gini of exposure")),
        rating_mitigations=_mitigation_table(results.mitigations, RATINGS, ("RMSE", "largest gap of RMSE")),
    )


def _describe(rows: Sequence[GroupRow], metrics: Iterable[str]) -> str:
    return "\n".join(f"- {findings.describe_metric(rows, metric)}" for metric in metrics)


def _group_table(rows: Sequence[GroupRow], metrics: Sequence[str]) -> str:
    header = ["kind", "group", "users"]
    for metric in metrics:
        header += [metric, "difference", "p"]
    cells = []
    for row in rows:
        line = [row.kind, row.group, str(row.users.get(metrics[0], 0))]
        for metric in metrics:
            line += [
                interval_text(row.values.get(metric)),
                difference_text(row.differences.get(metric)),
                _p(row.p_values.get(metric)),
            ]
        cells.append(line)
    return markdown_table(header, cells)


def _large(rows: Sequence[GroupRow], min_users: int) -> list[GroupRow]:
    return [row for row in rows if row.users[RMSE] >= min_users]


def _list_small(results: FairnessAnalysis) -> str:
    small = [row for row in results.intersections if row.users[RMSE] < results.min_users]
    return f"{len(small)} of {len(results.intersections)}"


def _provider_table(rows: Sequence[ProviderRow]) -> str:
    header = ("kind", "group", "movies", "exposure", "merit", "consumption", "exposure / merit", "p",
              "exposure / consumption", "p")  # fmt: skip
    cells = (
        [
            row.kind, row.group, f"{row.movies:.0f}", interval_text(row.exposure), interval_text(row.merit),
            f"{row.consumption:.3f}",
            interval_text(row.by_merit, 2), _p(row.p_merit),
            interval_text(row.by_consumption, 2), _p(row.p_consumption),
        ]
        for row in rows
    )  # fmt: skip
    return markdown_table(header, cells)


def _variant_table(results: FairnessAnalysis) -> str:
    names = list(dict.fromkeys(name for row in results.variants for name in row.differences))
    cells = (
        [name, *(_with_star(row.differences.get(name), row.p_values.get(name, 1.0)) for row in results.variants)]
        for name in names
    )
    return markdown_table(["difference from the served model", *(row.name for row in results.variants)], cells)


def _noise_table(results: FairnessAnalysis) -> str:
    header = (
        "kind",
        "group",
        "ratings",
        "share of training",
        "spread",
        "RMSE of bias-only",
        "RMSE",
        "NDCG@10 of the popular list",
        "gain of the served lists",
    )
    cells = (
        [
            row.kind, row.group, f"{row.ratings:,}", f"{100 * row.training_share:.1f} %", interval_text(row.spread),
            interval_text(row.bias_only), interval_text(row.served), interval_text(row.popular_ndcg),
            difference_text(row.ndcg_gain),
        ]
        for row in results.noise
    )  # fmt: skip
    return markdown_table(header, cells)


def _mitigation_table(rows: Sequence[MitigationRow], plot: str, axes: tuple[str, str]) -> str:
    chosen = [row for row in rows if row.plot == plot]
    others = list(chosen[0].others)
    cells = (
        [
            row.family, row.name, interval_text(row.quality), difference_text(row.cost), interval_text(row.unfairness),
            *(f"{row.others[name]:.3f}" for name in others), "yes" if row.efficient else "",
        ]
        for row in chosen
    )  # fmt: skip
    return markdown_table(["mitigation", "setting", axes[0], "cost", axes[1], *others, "on the front"], cells)


def _with_star(metric: Metric | None, p_value: float) -> str:
    return difference_text(metric) + (" *" if metric is not None and p_value < findings.LEVEL else "")


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
