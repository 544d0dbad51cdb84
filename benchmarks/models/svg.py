"""Plots as SVG of a few kilobytes, readable on a light and on a dark page, the same bytes from the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_STYLE = (
    "text{fill:#1f2328}.m{fill:#59636e}.g{stroke:#d1d9e0}.r{stroke:#9a6700;stroke-dasharray:3 3}"
    ".w{stroke:#0969da}.d{fill:#0969da}.b .w{stroke:#bc4c00}.b .d{fill:#bc4c00}.b text{font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.m{fill:#9198a1}.g{stroke:#3d444d}.r{stroke:#d29922}"
    ".w{stroke:#4493f8}.d{fill:#4493f8}.b .w{stroke:#f0883e}.b .d{fill:#f0883e}}"
)
_ROW, _TOP, _LEFT, _PANEL, _GAP, _FOOT = 22, 34, 176, 186, 40, 24

Interval = tuple[float, float, float]  # value, low, high
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class SvgPanel:
    """One column of a plot: by row its value with an interval. ``line``: a value to be marked."""

    title: str
    values: Mapping[str, Interval]
    line: float | None = None


def intervals(about: str, rows: Sequence[str], panels: Sequence[SvgPanel], bold: Sequence[str] = ()) -> str:
    """A dot with its interval for each row, in panels beside each other; ``bold`` rows stand out."""
    width = _LEFT + len(panels) * (_PANEL + _GAP)
    foot = _TOP + len(rows) * _ROW
    scales = [_scale(panel, _LEFT + number * (_PANEL + _GAP)) for number, panel in enumerate(panels)]
    parts = [_axis(panel, scale, foot) for panel, scale in zip(panels, scales, strict=True)]
    for number, name in enumerate(rows):
        y = _TOP + number * _ROW + _ROW / 2
        marks = [
            _mark(panel.values[name], scale[0], y)
            for panel, scale in zip(panels, scales, strict=True)
            if name in panel.values
        ]
        label = f'<text x="{_LEFT - 12}" y="{y + 4:g}" text-anchor="end">{escape(name)}</text>'
        parts.append(
            f"<g{' class=' + chr(34) + 'b' + chr(34) if name in bold else ''}>{label}{''.join(marks)}</g>"
        )
    return _svg(about, width, foot + _FOOT, parts)


def scatter(
    about: str, points: Mapping[str, tuple[float, float]], axes: tuple[str, str], bold: Sequence[str] = ()
) -> str:
    """Named points; the horizontal axis is logarithmic."""
    width, height, left, foot = 640, 320, 60, 280
    logs = [math.log10(x) for x, _ in points.values()]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    ys = _ticks(min(y for _, y in points.values()), max(y for _, y in points.values()))

    def across(x: float) -> float:
        return left + (math.log10(x) - low) / max(high - low, 1) * (width - left - 20)

    def down(y: float) -> float:
        return foot - (y - ys[0]) / (ys[-1] - ys[0]) * (foot - 30)

    parts = [_label(across(10.0**n), foot + 18, f"{10.0**n:g}") for n in range(low, high + 1)]
    for y in ys:
        parts.append(f'<line class="g" x1="{left}" x2="{width - 20}" y1="{down(y):.1f}" y2="{down(y):.1f}"/>')
        parts.append(f'<text class="m" x="{left - 8}" y="{down(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    parts.append(
        f'<text class="m" x="{width - 20}" y="{foot + 34}" text-anchor="end">{escape(axes[0])}</text>'
    )
    parts.append(f'<text class="m" x="{left - 50}" y="16">{escape(axes[1])}</text>')
    in_order = sorted(points.items(), key=lambda point: point[1])
    for number, (name, (x, y)) in enumerate(in_order):
        aside = -9 if number % 2 else 17  # By turns above and below: neighbours' names do not meet.
        dot = f'<circle class="d" cx="{across(x):.1f}" cy="{down(y):.1f}" r="4"/>'
        text = (
            f'<text x="{across(x):.1f}" y="{down(y) + aside:.1f}" text-anchor="middle">{escape(name)}</text>'
        )
        parts.append(f'<g class="b">{dot}{text}</g>' if name in bold else f"<g>{dot}{text}</g>")
    return _svg(about, width, height, parts)


def _scale(panel: SvgPanel, left: float) -> tuple[Scale, list[float]]:
    ends = [end for value in panel.values.values() for end in value]
    ends += [panel.line] if panel.line is not None else []
    ticks = _ticks(min(ends, default=0.0), max(ends, default=1.0))
    span = max(ticks[-1] - ticks[0], 1e-12)
    return (lambda value: left + (value - ticks[0]) / span * _PANEL), ticks


def _axis(panel: SvgPanel, scale: tuple[Scale, list[float]], foot: float) -> str:
    place, ticks = scale
    parts = [f'<text x="{place(ticks[0]):.1f}" y="16">{escape(panel.title)}</text>']
    for tick in ticks:
        x = f"{place(tick):.1f}"
        parts.append(f'<line class="g" x1="{x}" x2="{x}" y1="{_TOP - 8}" y2="{foot}"/>')
        parts.append(_label(place(tick), foot + 16, f"{tick:g}"))
    if panel.line is not None:
        x = f"{place(panel.line):.1f}"
        parts.append(f'<line class="r" x1="{x}" x2="{x}" y1="{_TOP - 8}" y2="{foot}"/>')
    return "".join(parts)


def _mark(value: Interval, place: Scale, y: float) -> str:
    middle, low, high = (f"{place(number):.1f}" for number in value)
    return (
        f'<line class="w" x1="{low}" x2="{high}" y1="{y:g}" y2="{y:g}" stroke-width="2"/>'
        f'<circle class="d" cx="{middle}" cy="{y:g}" r="4"/>'
    )


def _label(x: float, y: float, text: str) -> str:
    return f'<text class="m" x="{x:.1f}" y="{y:g}" text-anchor="middle">{text}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that hold both ends between them."""
    span = max(high - low, abs(high) * 1e-3, 1e-9)
    step = 10 ** math.floor(math.log10(span / 3))
    step *= next(times for times in (1, 2, 5, 10) if span / (step * times) <= 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


def _svg(about: str, width: float, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(about)}" font-family="system-ui,sans-serif" font-size="12">\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )
