"""A comparison as a person reads it (plain text, Markdown) and as a program does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from marquee.costs.bill import Bill, Charge
from marquee.costs.comparison import Comparison
from marquee.costs.load import Load, System, Work
from marquee.costs.prices import Prices
from marquee.costs.usage import traffic

HEADER = ("part", "what is used in a month", "functions", "one machine")


def text(comparison: Comparison, prices: Prices) -> str:
    """Plain text, in columns."""
    rows = [HEADER, *_rows(comparison)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip()
        for a, b, c, d in rows
    ]
    return "\n".join([*lines, "", *_sentences(comparison, prices)])


def markdown(comparison: Comparison, prices: Prices) -> str:
    """The same, as docs/cost.md shows it."""
    rows = [f"| {' | '.join(row)} |" for row in _rows(comparison)]
    return "\n".join(
        [f"| {' | '.join(HEADER)} |", "|---|---|---:|---:|", *rows, "", *_sentences(comparison, prices)]
    )


def document(comparison: Comparison, prices: Prices) -> dict[str, Any]:
    """The same, for JSON; US dollars a month."""
    even = comparison.break_even
    return {
        "lines_per_second": comparison.load.lines_per_second,
        "requests_per_second": comparison.load.requests_per_second,
        "functions": _bill(comparison.functions),
        "machine": _bill(comparison.machine),
        "functions_at_zero": _bill(comparison.functions_at_zero),
        "machine_at_zero": _bill(comparison.machine_at_zero),
        "break_even_lines_per_second": even and even.lines_per_second,
        "break_even_requests_per_second": even and even.requests_per_second,
        "prices": {"date": str(prices.date), "region": prices.region, "currency": prices.currency},
    }


def shortages(load: Load, work: Work, system: System) -> list[str]:
    """Where the load needs more instances than may be started."""
    of = traffic(load, work, system)
    return [
        f"{name} would need {needed:.0f} instances on the average; infra/functions.yaml allows {most}"
        for name, needed, most in (
            ("ingest", of.ingest, system.ingest.max_instances),
            ("recommend", of.recommend, system.recommend.max_instances),
        )
        if needed > most
    ]


def _rows(comparison: Comparison) -> Iterator[tuple[str, str, str, str]]:
    functions, machine = comparison.functions, comparison.machine
    for part in {**functions.parts, **machine.parts}:
        used = functions.of(part) or machine.of(part)
        yield part, _used(used), _usd(functions.parts.get(part)), _usd(machine.parts.get(part))
    yield "all", "", _usd(functions.total), _usd(machine.total)
    at_zero = comparison.functions_at_zero.total, comparison.machine_at_zero.total
    yield "all, with no load", "", _usd(at_zero[0]), _usd(at_zero[1])


def _used(charges: Sequence[Charge]) -> str:
    sums: dict[str, float] = {}
    for charge in charges:
        sums[charge.price.unit] = sums.get(charge.price.unit, 0) + charge.quantity
    return ", ".join(f"{_short(quantity)} {unit}" for unit, quantity in sums.items())


def _short(quantity: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if quantity >= size:
            return f"{quantity / size:.3g}{letter}"
    return f"{quantity:.3g}"


def _usd(amount: float | None) -> str:
    return "" if amount is None else f"{amount:,.2f}"


def _sentences(comparison: Comparison, prices: Prices) -> Iterator[str]:
    load = comparison.load
    yield (
        f"US dollars a month in {prices.region} at {load.lines_per_second:g} lines/s and "
        f"{load.requests_per_second:g} requests/s, by list prices of {prices.date}."
    )
    yield _break_even(comparison.break_even)


def _break_even(even: Load | None) -> str:
    if even is None:
        return "At no load of this mixture is the machine cheaper."
    if not (even.lines_per_second or even.requests_per_second):
        return "The machine is cheaper even with no load."
    return (
        f"Above {even.lines_per_second:.0f} lines/s and {even.requests_per_second:.1f} requests/s of this mixture "
        "one machine is cheaper."
    )


def _bill(bill: Bill) -> dict[str, Any]:
    return {"usd_per_month": bill.total, "parts": bill.parts}
