"""Looks at an experiment: the data on which a decision depends, besides the declaration and the release."""

from __future__ import annotations

from datetime import datetime

import msgspec

Counts = dict[str, int]
"""Arm -> number of users."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of the data up to ``as_of``, as SQL returns them.

    ``release``: number of the release that was read before the sums. ``as_of``: the event time through which every
    partition is stored; None before the first record. ``newest``: arm -> time of the newest request of its users, and
    ``recent``: users with a request in the 30 minutes before ``as_of``. ``sums``: metric -> arm -> sums in the order
    of ``ratio_estimates.SUMS``, followed by those of ``COVARIATE_SUMS`` where the metric is adjusted; of a paired
    metric, the arm that is compared with control. ``baselines``: metric -> control's value before the start (of
    `rates`, its mean squared error); it fixes the size of relative margins. ``failed``: users with a failed or late
    request. ``users`` and ``impressed``: users first seen in each arm, by requests and by impressions. ``crossed``:
    users seen in two arms. ``rating_range``: maximum minus minimum of the rating scale.
    """

    experiment: str
    release: int
    as_of: datetime | None
    newest: dict[str, datetime] = {}
    recent: Counts = {}
    sums: dict[str, dict[str, tuple[float, ...]]] = {}
    baselines: dict[str, float] = {}
    failed: Counts = {}
    users: Counts = {}
    impressed: Counts = {}
    crossed: int = 0
    rating_range: float = 4.0


class ReleaseState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the release that serves: its experiment ("" for none), and the share of the users of one arm.

    ``since`` is the time of the release, ``started`` that of the experiment's first one. ``held``: a person stopped the
    controller.
    """

    number: int
    experiment: str
    share: float
    since: datetime
    started: datetime
    held: bool = False
