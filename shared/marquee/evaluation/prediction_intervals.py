"""Calibrated intervals for a predicted rating.

Split conformal prediction (Vovk, Gammerman and Shafer, 2005; Lei and others, 2018): how far a model was off on
ratings that it had not seen says how far it will be off. In bins by how many ratings of the user were known,
since that is what a prediction's uncertainty hangs on most (Vovk's Mondrian form).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from marquee.registry.manifest import ResidualInterval

NOMINAL_COVERAGE = 0.8
_FROM = (0, 1, 20, 100)
_ENOUGH = 100  # ratings; a bin with fewer goes with the next one

Floats = NDArray[np.float64]


def calibrate(
    errors: Floats, known: NDArray[np.integer], coverage: float = NOMINAL_COVERAGE
) -> tuple[ResidualInterval, ...]:
    """The prediction_intervals within which ``coverage`` of the ratings fall.

    ``errors``: rating - prediction; ``known``: how many ratings of the user the model had learnt from. Both
    [n]. Without ratings there are no prediction_intervals.
    """
    if not len(errors):
        return ()
    starts = _starts(known)
    ends = [*starts[1:], np.inf]
    bins = (
        (start, errors[(known >= start) & (known < end)]) for start, end in zip(starts, ends, strict=True)
    )
    return tuple(ResidualInterval(start, *_quantiles(inside, coverage)) for start, inside in bins)


def _starts(known: NDArray[np.integer]) -> list[int]:
    """Those of :data:`_FROM` that leave enough ratings in each bin."""
    starts = [0]
    for start in _FROM[1:]:
        if ((known >= starts[-1]) & (known < start)).sum() >= _ENOUGH:
            starts.append(start)
    if len(starts) > 1 and (known >= starts[-1]).sum() < _ENOUGH:
        starts.pop()
    return starts


def coverage(
    prediction_intervals: Sequence[ResidualInterval], errors: Floats, known: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Which of the ratings fall within their band, [n]."""
    which = np.searchsorted([band.known for band in prediction_intervals], known, side="right") - 1
    below, above = (
        np.array([getattr(band, side) for band in prediction_intervals]) for side in ("below", "above")
    )
    covered: NDArray[np.bool_] = (errors >= below[which]) & (errors <= above[which])
    return covered


def _quantiles(errors: Floats, coverage: float) -> tuple[float, float]:
    """With the next error the n + 1 are in any order equally likely: hence n + 1, rounded outwards."""
    n, tail = len(errors), (1 - coverage) / 2
    in_order = np.sort(errors)
    rank = min(int((n + 1) * tail + 1e-9), n)
    return float(in_order[max(rank - 1, 0)]), float(in_order[min(n - rank, n - 1)])
