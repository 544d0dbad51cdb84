"""Options of a backtest, and the cuts at which it retrains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import numpy as np

from marquee.backtest.event_stream import EventStream
from marquee.config.timestamps import to_microseconds
from marquee.errors import SettingsError, TooFewRatings

MIN_TRAINING_RATINGS = 20
"""Minimum number of ratings before the first cut."""


class ServedModel(msgspec.Struct, frozen=True):
    """A served model: ``trainer`` of the rating model, ``ranker``, and whether users are folded in."""

    trainer: str
    ranker: str
    fold_in: bool = True

    @property
    def name(self) -> str:
        """Name in the report."""
        return f"{self.trainer} + {self.ranker}" + ("" if self.fold_in else ", no fold-in")


class BacktestPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a backtest.

    - ``models``: served models; the first is compared with all others
    - ``cuts``: number of retrainings, with equal numbers of events between them
    - ``every``: time between two retrainings, in place of ``cuts``
    - ``begin``, ``end``: first and last event to predict, as a fraction of the events or as a time
    - ``delays``: delays between a cut and the first use of its model, for the cost of a stale model
    - ``list_length``: number of movies in a list
    """

    models: tuple[ServedModel, ...]
    cuts: int = 16
    every: timedelta | None = None
    begin: float | datetime = 0.2
    end: float | datetime = 1.0
    delays: tuple[timedelta, ...] = (timedelta(hours=1), timedelta(days=1), timedelta(weeks=1))
    list_length: int = 20


class Block(msgspec.Struct, frozen=True):
    """Events ``first`` to ``last`` (exclusive), which the model trained before ``first`` predicts.

    The model also predicts the events up to ``late``, to measure the cost of serving it for longer.
    """

    first: int
    last: int
    late: int


def make_blocks(plan: BacktestPlan, stream: EventStream) -> list[Block]:
    """Return the events between retrainings.

    Raises :class:`TooFewRatings` if no event is left to predict or to train on.
    """
    first, last = (_find_row(bound, stream) for bound in (plan.begin, plan.end))
    if plan.every is not None:
        step = plan.every // timedelta(microseconds=1)
        starts = np.arange(stream.times[min(first, len(stream) - 1)], stream.times[max(last - 1, 0)] + 1, step)
        cuts = np.unique(np.searchsorted(stream.times, starts))
        cuts = np.unique(np.r_[first, cuts[(cuts >= first) & (cuts < last)]])
    else:
        cuts = np.unique(np.linspace(first, last, plan.cuts, endpoint=False).round().astype(int))
    cuts = cuts[cuts < last]
    n_ratings = int(stream.is_rating[:first].sum())
    if not len(cuts) or n_ratings < MIN_TRAINING_RATINGS:
        raise TooFewRatings(
            f"a backtest from event {first} to {last} of {len(stream)} has {n_ratings} ratings to train on first; it "
            f"needs {MIN_TRAINING_RATINGS} and an event to predict: choose a later --from, and --until after it"
        )
    longest = max(plan.delays, default=timedelta()) // timedelta(microseconds=1)
    bounds = [*cuts.tolist(), last]
    return [Block(a, b, _late_end(stream, b, last, longest)) for a, b in pairwise(bounds)]


def _late_end(stream: EventStream, end: int, last: int, delay: int) -> int:
    if end >= last or not delay:
        return end
    return min(int(np.searchsorted(stream.times, stream.times[end] + delay)), last)


def _find_row(bound: float | datetime, stream: EventStream) -> int:
    if isinstance(bound, datetime):
        return int(np.searchsorted(stream.times, to_microseconds(bound.astimezone(UTC))))
    if not 0 <= bound <= 1:
        raise SettingsError(f"{bound:g} is not a fraction of the events: use 0 to 1 or a time, as in 2026-02-14T00:00Z")
    return round(bound * len(stream))
