"""Cost against load, drawn as SVG: the functions, the machine, and where they cross. The same input, the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from marquee.costs.bill import functions_bill, machine_bill
from marquee.costs.comparison import break_even
from marquee.costs.load import Load, System, Work
from marquee.costs.prices import Prices

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 46, 56
POINTS = 120
REACH = 1.5
"""The x axis ends a little beyond so many times the load."""
FUNCTIONS, MACHINE, INK, FAINT = "#1f6feb", "#d1741a", "#24292f", "#d0d7de"

Curve = Sequence[tuple[float, float]]
Place = Callable[[float, float], tuple[float, float]]


def draw(load: Load, prices: Prices, work: Work, system: System) -> str:
    """The picture as text; the x axis is lines a second, requests in the same mixture."""
    lines = load.lines_per_second
    reach = _round_up(REACH * lines) / lines if lines else REACH
    steps = [reach * step / POINTS for step in range(POINTS + 1)]
    functions = [functions_bill(load.times(f), prices, work, system).total for f in steps]
    machine = [machine_bill(load.times(f), prices, work, system).total for f in steps]
    top = _round_up(max(*functions, *machine))

    def place(factor: float, usd: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * factor / reach
        return x, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * usd / top

    crossing = break_even(load, prices, work, system)
    even = None if crossing is None else (crossing, machine_bill(crossing, prices, work, system).total)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            f'font-size="13" role="img">',
            "<title>Cost a month against load: functions, and one machine that is always on</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *_axes(place, load, reach, top),
            _line([place(f, usd) for f, usd in zip(steps, functions, strict=True)], FUNCTIONS),
            _line([place(f, usd) for f, usd in zip(steps, machine, strict=True)], MACHINE),
            *_crossing(place, load, reach, even),
            *_legend(),
            "</svg>\n",
        ]
    )


def _axes(place: Place, load: Load, reach: float, top: float) -> Iterator[str]:
    lines = load.lines_per_second
    for number in range(6):
        usd, factor = top * number / 5, reach * number / 5
        (_, y), (x, bottom) = place(0, usd), place(factor, 0)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{FAINT}"/>'
        yield _text(LEFT - 8, y + 4, f"{usd:,.0f}", "end")
        yield _text(x, bottom + 18, f"{lines * factor:,.0f}", "middle")
    fraction = load.requests_per_second / lines if lines else 0.0
    said = f"lines a second, and {1000 * fraction:.2g} requests with each thousand of them"
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, said, "middle")
    yield _text(12, TOP - 16, "US dollars a month", "start")


def _crossing(place: Place, load: Load, reach: float, even: tuple[Load, float] | None) -> Iterator[str]:
    """A dot where the curves cross, if that is in the picture."""
    if even is None or not load.lines_per_second:
        return
    at, usd = even
    if (factor := at.lines_per_second / load.lines_per_second) > reach:
        return
    x, y = place(factor, usd)
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{INK}"/>'
    yield _text(x + 10, y + 20, f"the same at {at.lines_per_second:,.0f} lines/s", "start")


def _legend() -> Iterator[str]:
    for number, (name, colour) in enumerate((("functions", FUNCTIONS), ("one machine, always on", MACHINE))):
        x = LEFT + 150 + number * 130
        yield f'<path d="M{x} {TOP - 20}h22" stroke="{colour}" stroke-width="3"/>'
        yield _text(x + 28, TOP - 16, name, "start")


def _line(points: Curve, colour: str) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">{text}</text>'


def _round_up(usd: float) -> float:
    """The next number of two digits that is a multiple of five, so that five steps are round."""
    size = 10.0 ** max(0, len(str(int(usd))) - 2)
    return -(-usd // (5 * size)) * 5 * size
