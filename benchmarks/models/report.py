"""docs/models.md and its plots, of reports/models.json alone: equal results give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from benchmarks.models import charts
from benchmarks.models.algorithms import SERVED_RANKING, SERVED_RATING
from benchmarks.models.report_model import AlgorithmResult, Cut, ModelReport, Protocol
from marquee.config import atomic_file
from marquee.evaluation.bootstrap import Estimate
from marquee.evaluation.paired_test import PairedComparison

RESULTS, PAGE, PLOTS = Path("reports/models.json"), Path("docs/models.md"), Path("docs/models")

_TEMPLATE = Path(__file__).with_name("models.md.template")
_RATING = {"rmse": "RMSE", "mae": "MAE"}
_RANKING = {
    "ndcg@10": "NDCG@10",
    "ndcg@20": "NDCG@20",
    "recall@10": "recall@10",
    "recall@20": "recall@20",
    "coverage": "coverage",
    "novelty": "novelty, bits",
}
_DIGITS = {"rmse": 4, "mae": 4, "novelty": 2}


def write_results(root: Path, results: ModelReport) -> None:
    """Put them where :func:`write` finds them."""
    with atomic_file.atomic_path(root / RESULTS) as aside:
        aside.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def write(root: Path) -> list[Path]:
    """The page and the plots of the results below ``root``; returns their paths."""
    results = msgspec.json.decode((root / RESULTS).read_bytes(), type=ModelReport)
    texts = files(results)
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return list(texts)


def files(results: ModelReport) -> dict[Path, str]:
    """Path -> content, of the page and the plots."""
    return {PAGE: page(results)} | {PLOTS / name: svg for name, svg in charts.draw(results).items()}


def page(results: ModelReport) -> str:
    """The page as Markdown."""
    return _TEMPLATE.read_text().format(
        made=results.made,
        machine=results.machine,
        seed=results.seed,
        data=results.data,
        interval=f"{100 * results.interval:g} %",
        resamples=f"{results.resamples:,}",
        systems=_table(["system", "what it is"], results.notes.items()),
        rating=SERVED_RATING,
        ranking=SERVED_RANKING,
        protocols="".join(_protocol(protocol, results) for protocol in results.protocols),
        costs=_costs(results.protocols[0].rows),
        source=_source(results),
        cuts=_cuts(results),
        lists=_lists(results),
        intervals=_intervals(results),
        prior_strength=results.cohorts.serves,
        cohorts=_cohorts(results),
        versions=", ".join(f"{name} {version}" for name, version in results.versions.items()),
    )


def _protocol(protocol: Protocol, results: ModelReport) -> str:
    title = protocol.name[0].upper() + protocol.name[1:]
    asked = f"{protocol.ratings:,} ratings of {protocol.users} users."
    tables = (_figures(protocol.rows, metrics) for metrics in (_RATING, _RANKING))
    return "\n\n".join((f"### {title}", f"{asked} {_source(results)}", *tables, ""))


def _figures(rows: Sequence[AlgorithmResult], metrics: dict[str, str]) -> str:
    shown = (row for row in rows if metrics.keys() <= row.figures.keys())
    cells = ([row.name, *(_shown(row.figures[m], _DIGITS.get(m, 3)) for m in metrics)] for row in shown)
    return _table(["system", *metrics.values()], cells)


def _costs(rows: Sequence[AlgorithmResult]) -> str:
    head = ["system", "training, CPU s", "an answer, µs", "in memory, kB", "on disk, kB"]
    cells = (
        [
            r.name,
            f"{r.cpu_s:.2f}",
            f"{r.answer_us:.0f}",
            f"{r.in_memory / 1e3:,.0f}",
            f"{r.on_disk / 1e3:,.0f}",
        ]
        for r in rows
    )
    return _table(head, cells)


def _cuts(results: ModelReport) -> str:
    systems = results.cuts[0].rmse
    head = ["cut", "users", "new", *(f"{who}, {group}" for who in systems for group in ("known", "new"))]
    rows = (
        [name, str(cut.users), str(cut.new_users)]
        + [_shown(figures.get(group), 3) for figures in cut.rmse.values() for group in ("known", "new")]
        for name, cut in _named(results)
    )
    return _table(head, rows)


def _lists(results: ModelReport) -> str:
    rows = ([name, *(_shown(figure, 3) for figure in cut.ndcg.values())] for name, cut in _named(results))
    return _table(["cut", *results.cuts[0].ndcg], rows)


def _intervals(results: ModelReport) -> str:
    groups = ("all", "known", "new")
    rows = ([name, *(_shown(cut.covered.get(group), 3) for group in groups)] for name, cut in _named(results))
    return _table(["cut", "all", "known users", "new users"], rows)


def _named(results: ModelReport) -> Iterable[tuple[str, Cut]]:
    *past, newest = results.cuts
    named = [(f"{cut.at:.1f}", cut) for cut in past]
    return [*named, ("these together", results.pooled), (f"{newest.at:.1f}, the newest slice", newest)]


def _cohorts(results: ModelReport) -> str:
    found = results.cohorts
    lists = {f"{name}, past cuts": past for name, past in found.past.items()}
    lists[f"{found.serves}, newest slice"] = found.newest
    head = [
        "mixed with",
        "users",
        *(f"NDCG@{n}{of}" for n in (10, 20) for of in ("", " popular", " difference")),
    ]
    rows = (
        [name, str(compared[0].users), *(cell for c in compared for cell in _difference(c))]
        for name, compared in lists.items()
        if compared
    )
    return _table(head, rows)


def _difference(found: PairedComparison) -> list[str]:
    ends = f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return [_number(found.ours, 3), _number(found.theirs, 3), ends]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _source(results: ModelReport) -> str:
    return f"(Seed {results.seed}, data `{results.data[:12]}`.)"


def _shown(figure: Estimate | None, digits: int) -> str:
    """The figure with its interval."""
    if figure is None:
        return "-"
    value, low, high = (_number(number, digits) for number in (figure.value, figure.low, figure.high))
    return f"{value} [{low}, {high}]"


def _number(number: float, digits: int) -> str:
    text = f"{number:.{digits}f}"
    return text[1:] if text.startswith("0.") else text
