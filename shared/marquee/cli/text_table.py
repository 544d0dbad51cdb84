"""Tables, numbers and JSON documents as text for terminals and Markdown pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from marquee.registry.manifest import Metric

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return left-aligned columns separated by two spaces, without trailing spaces."""
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> str:
    """Return a Markdown table; the columns named in ``right`` are aligned to the right."""
    numbers = set(right)
    rule = ["---:" if name in numbers else "---" for name in header]
    return "\n".join([f"| {' | '.join(header)} |", f"|{'|'.join(rule)}|", *(f"| {' | '.join(row)} |" for row in rows)])


def short_number(value: float) -> str:
    """Return ``value`` with three significant digits and the SI prefix k, M or G."""
    size, prefix = next(((size, prefix) for size, prefix in _PREFIXES if value >= size), (1.0, ""))
    return f"{value / size:.3g}{prefix}"


def interval_text(metric: Metric | None, digits: int = 3) -> str:
    """Return a value with its interval if it has one, such as ``0.951 [0.940, 0.962]``; "-" without a metric."""
    return _with_interval(metric, f".{digits}f")


def difference_text(metric: Metric | None, digits: int = 3) -> str:
    """Return a difference as :func:`interval_text` returns a value, with a sign on each number."""
    return _with_interval(metric, f"+.{digits}f")


def json_text(document: Any) -> str:
    """Return a document as JSON with indentation."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _with_interval(metric: Metric | None, form: str) -> str:
    if metric is None:
        return "-"
    if metric.low is None or metric.high is None:
        return f"{metric.value:{form}}"
    return f"{metric.value:{form}} [{metric.low:{form}}, {metric.high:{form}}]"
