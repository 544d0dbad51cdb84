"""Report of a backtest as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from marquee.backtest.backtest_summary import BacktestReport, GroupResult
from marquee.registry.manifest import Metric

_DIGITS = {"rmse": 4, "mae": 4}
_HEADS = {"rmse": "RMSE", "mae": "MAE", "ndcg@10": "NDCG@10", "recall@10": "recall@10", "recall@20": "recall@20"}


def render_tables(report: BacktestReport) -> str:
    """Return all tables, each with one line of introduction."""
    main = report.plan.models[0].name
    left_out = f"; {report.left_out:,} left out, of movies that a model did not know" if report.left_out else ""
    attributes = ", ".join(report.user_attributes) or "none"
    parts = [
        f"{report.ratings:,} ratings of {report.users:,} users and {report.lists:,} lists, "
        f"{len(report.cuts)} retrainings{left_out}. Side information of users: {attributes}.",
        overall_table(report),
        f"{main} less each other, with paired {100 * report.interval:g} % intervals over users and cuts. "
        "An interval with 0 in it shows no difference:",
        difference_table(report),
        "RMSE by the number of ratings known of the user:",
        group_table(report.by_known, "rmse"),
        group_difference_table(report.by_known, "rmse"),
        "RMSE by the time since the first event of the movie:",
        group_table(report.by_movie_age, "rmse"),
        "NDCG@10 by the number of ratings known of the user:",
        group_table(report.by_known, "ndcg@10"),
        group_difference_table(report.by_known, "ndcg@10"),
        f"Cost of serving each new {main} later than at its cut:",
        staleness_table(report),
        *report.notes,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def overall_table(report: BacktestReport) -> str:
    """Return the metrics, coverage, exposure and cost of each candidate."""
    head = ["model", *_HEADS.values(), "coverage", "Gini", "training, CPU s", "replay, CPU s"]
    rows = []
    for number, (name, metrics) in enumerate(report.overall.metrics.items()):
        cost = report.cost[name]
        rows.append(
            [
                f"**{name}**" if number == 0 else name,
                *(format_metric(metrics.get(metric), _DIGITS.get(metric, 3)) for metric in _HEADS),
                format_number(report.coverage.get(name), 3),
                format_number(report.gini.get(name), 3),
                f"{cost.train_cpu_s:.1f}",
                f"{cost.replay_cpu_s:.1f}",
            ]
        )
    return markdown_table(head, rows)


def difference_table(report: BacktestReport) -> str:
    """Return the differences of the first candidate from each other one."""
    rows = (
        [name, *(_difference(found.get(metric), metric) for metric in _HEADS)]
        for name, found in report.overall.differences.items()
    )
    return markdown_table(["less", *_HEADS.values()], rows)


def group_table(groups: Mapping[str, GroupResult], metric: str) -> str:
    """Return one metric by group, for the candidates that have it."""
    names = [name for name in _first(groups).metrics if any(metric in g.metrics[name] for g in groups.values())]
    digits = _DIGITS.get(metric, 3)
    rows = (
        [group, f"{result.ratings:,}", *(format_metric(result.metrics[name].get(metric), digits) for name in names)]
        for group, result in groups.items()
    )
    return markdown_table(["group", "ratings", *names], rows) if names else ""


def group_difference_table(groups: Mapping[str, GroupResult], metric: str) -> str:
    """Return the differences of one metric by group."""
    names = [name for name, found in _first(groups).differences.items() if metric in found]
    rows = (
        [group, *(_difference(result.differences[name].get(metric), metric) for name in names)]
        for group, result in groups.items()
    )
    return markdown_table(["group", *(f"less {name}" for name in names)], rows) if names else ""


def staleness_table(report: BacktestReport) -> str:
    """Return the cost of each delay."""
    rows = (
        [delay, *(_difference(found.get(metric), metric, digits=5) for metric in _HEADS)]
        for delay, found in report.staleness.items()
    )
    return markdown_table(["delay", *_HEADS.values()], rows) if report.staleness else ""


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _first(groups: Mapping[str, GroupResult]) -> GroupResult:
    return next(iter(groups.values()))


def _difference(found: Metric | None, name: str, digits: int | None = None) -> str:
    if found is None:
        return "-"
    digits = digits or _DIGITS.get(name, 3)
    text = f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
    return text if found.excludes_zero else f"{text} (none)"


def format_metric(metric: Metric | None, digits: int) -> str:
    """Return the value with its interval if it has one; "-" if it was not measured."""
    if metric is None:
        return "-"
    value = format_number(metric.value, digits)
    if metric.low is None or metric.high is None:
        return value
    return f"{value} [{format_number(metric.low, digits)}, {format_number(metric.high, digits)}]"


def format_number(number: float | None, digits: int) -> str:
    """Return the number with ``digits`` decimal places; "-" for None."""
    return "-" if number is None else f"{number:.{digits}f}"
