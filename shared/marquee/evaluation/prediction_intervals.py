"""Calibrated intervals for a predicted rating, by split conformal prediction.

Errors on ratings that the model has not seen estimate its errors on future ones (Vovk, Gammerman and Shafer, 2005; Lei
et al., 2018). The calibration is in bins by the user's number of known ratings (Mondrian conformal prediction), because
the uncertainty depends on it most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from marquee.registry.manifest import ResidualInterval

NOMINAL_COVERAGE = 0.8
# Smallest number of known ratings in each bin.
_BIN_STARTS = (0, 1, 20, 100)
# A bin with fewer ratings is merged with the next one.
_MIN_RATINGS = 100

Floats = NDArray[np.float64]


def calibrate(
    errors: Floats, known: NDArray[np.integer], nominal_coverage: float = NOMINAL_COVERAGE
) -> tuple[ResidualInterval, ...]:
    """Return intervals of the error that cover the fraction ``nominal_coverage`` of the ratings.

    ``errors`` [n]: rating - prediction. ``known`` [n]: number of training ratings of the user. Without ratings
    there are no intervals.
    """
    if not len(errors):
        return ()
    starts = _bin_starts(known)
    ends = [*starts[1:], np.inf]
    bins = ((start, errors[(known >= start) & (known < end)]) for start, end in zip(starts, ends, strict=True))
    return tuple(ResidualInterval(start, *_conformal_quantiles(in_bin, nominal_coverage)) for start, in_bin in bins)


def is_covered(intervals: Sequence[ResidualInterval], errors: Floats, known: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return, for each rating [n], True if its error lies in the interval of its bin."""
    index = np.searchsorted([interval.known for interval in intervals], known, side="right") - 1
    below, above = (np.array([getattr(interval, side) for interval in intervals]) for side in ("below", "above"))
    covered: NDArray[np.bool_] = (errors >= below[index]) & (errors <= above[index])
    return covered


def _bin_starts(known: NDArray[np.integer]) -> list[int]:
    """Return the members of :data:`_BIN_STARTS` that leave enough ratings in each bin."""
    starts = [0]
    for start in _BIN_STARTS[1:]:
        if ((known >= starts[-1]) & (known < start)).sum() >= _MIN_RATINGS:
            starts.append(start)
    if len(starts) > 1 and (known >= starts[-1]).sum() < _MIN_RATINGS:
        starts.pop()
    return starts


def _conformal_quantiles(errors: Floats, nominal_coverage: float) -> tuple[float, float]:
    """Return the lower and upper quantile, rounded outwards.

    The n errors and the next one are exchangeable, hence n + 1.
    """
    n, tail = len(errors), (1 - nominal_coverage) / 2
    in_order = np.sort(errors)
    rank = min(int((n + 1) * tail + 1e-9), n)
    return float(in_order[max(rank - 1, 0)]), float(in_order[min(n - rank, n - 1)])
