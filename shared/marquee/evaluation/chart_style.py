"""Style and SVG output of the charts of documents.

Equal figures give equal bytes: element ids have a fixed salt, there is no date, and text stays text. matplotlib, a
development dependency, is not imported until a figure is written.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHART_STYLE: Any = {
    "svg.hashsalt": "marquee",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def to_svg(figure: Figure, *, crops: bool = True) -> str:
    """Return ``figure`` as SVG without trailing spaces, and close it; ``crops``: without the empty margin."""
    from matplotlib import pyplot as plt

    out = io.StringIO()
    figure.tight_layout()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(out, format="svg", bbox_inches="tight" if crops else None, metadata=metadata)
    plt.close(figure)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
