"""Policy of an arm: the rules that hold for every list, and the constants of exploration.

A policy is part of the release document, so that a canary, an experiment and a rollback of rules are each one write.
Its number is that of the release that introduced it; 0 is the policy that rules nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from marquee.errors import ReleaseError

MAX_PINS, MAX_POSITION = 20, 100
MAX_AGE = 120


class ShowWindow(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Time in which a movie may be shown, from ``since`` until before ``until``; None: without a bound."""

    movie_id: str
    since: datetime | None = None
    until: datetime | None = None


class Pin(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A movie that stands at ``position`` (from 1) of the first page, from ``since`` until before ``until``.

    A user who has seen the movie, or whose rules forbid it, does not get it.
    """

    movie_id: str
    position: int
    since: datetime | None = None
    until: datetime | None = None


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Least share of each list for the movies of which ``attribute`` has one of ``values``, as far as there are any."""

    attribute: Literal["country", "language", "genre"]
    values: tuple[str, ...]
    share: float


class Policy(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Rules of an arm.

    - ``age_from_account``: no movie whose age rating is above the age of the account
    - ``assumed_age``: age of an account whose age is unknown, or cannot be read in time
    - ``unknown_age_passes``: whether a movie without an age rating passes an age rule
    - ``unavailable``: movies that are never shown
    - ``windows``: times outside which a movie is not shown
    - ``pins``: movies at fixed positions
    - ``quotas``: least shares of each list
    - ``cost_weight``: deduction from a score for each unit of license fee, in standard deviations of the user's scores
    - ``explore_epsilon``: fraction of the lists drawn at random from all candidates; None here and below: the default
    - ``explore_slots``: positions at the end of the other lists that are drawn at random from ``explore_candidates``
      movies, of which ``explore_new`` are movies that no one has rated or watched, as far as there are any
    """

    number: int = 0
    age_from_account: bool = False
    assumed_age: int = 0
    unknown_age_passes: bool = False
    unavailable: tuple[str, ...] = ()
    windows: tuple[ShowWindow, ...] = ()
    pins: tuple[Pin, ...] = ()
    quotas: tuple[Quota, ...] = ()
    cost_weight: float = 0.0
    explore_epsilon: float | None = None
    explore_slots: int | None = None
    explore_candidates: int | None = None
    explore_new: int | None = None

    def hidden_ids(self, now: datetime) -> Iterable[str]:
        """Yield the ids of the movies that may not be shown at ``now``."""
        yield from self.unavailable
        yield from (w.movie_id for w in self.windows if not _is_within(w, now))

    def active_pins(self, now: datetime) -> Sequence[Pin]:
        """Return the pins that hold at ``now``, by position."""
        return sorted((pin for pin in self.pins if _is_within(pin, now)), key=lambda pin: pin.position)

    def next_change(self, now: datetime) -> datetime | None:
        """Return the next time at which a window or a pin begins or ends; None if there is none."""
        times = (time for dated in _list_dated(self) for time in (dated.since, dated.until))
        return min((time for time in times if time is not None and time > now), default=None)


NO_POLICY = Policy()


def check_policy(policy: Policy) -> None:
    """Raise :class:`ReleaseError` that names every invalid value."""
    problems = [*_check_numbers(policy), *_check_dates(policy), *_check_pins(policy), *_check_quotas(policy)]
    if problems:
        raise ReleaseError("the policy is invalid: " + "; ".join(problems))


def _check_numbers(policy: Policy) -> Iterable[str]:
    if not 0 <= policy.assumed_age <= MAX_AGE:
        yield f"assumed_age is {policy.assumed_age}; it must lie between 0 and {MAX_AGE}"
    if not 0 <= policy.cost_weight <= 1e6:
        yield f"cost_weight is {policy.cost_weight}; it must lie between 0 and 1000000"
    if policy.explore_epsilon is not None and not 0 <= policy.explore_epsilon <= 1:
        yield f"explore_epsilon is {policy.explore_epsilon}; it must lie between 0 and 1"
    for name in ("explore_slots", "explore_candidates", "explore_new"):
        value = getattr(policy, name)
        if value is not None and not 0 <= value <= 1_000:
            yield f"{name} is {value}; it must lie between 0 and 1000"


def _list_dated(policy: Policy) -> list[ShowWindow | Pin]:
    return [*policy.windows, *policy.pins]


def _check_dates(policy: Policy) -> Iterable[str]:
    for dated in _list_dated(policy):
        if not dated.movie_id:
            yield "a window or a pin has no movie_id"
        if any(time is not None and time.tzinfo is None for time in (dated.since, dated.until)):
            yield f"the times of {dated.movie_id} need a zone, as in 2026-12-01T00:00:00Z"
        elif dated.since is not None and dated.until is not None and dated.since >= dated.until:
            yield f"{dated.movie_id} ends at {dated.until.isoformat()}, before it begins"


def _check_pins(policy: Policy) -> Iterable[str]:
    if len(policy.pins) > MAX_PINS:
        yield f"there are {len(policy.pins)} pins; at most {MAX_PINS} are allowed"
    for pin in policy.pins:
        if not 1 <= pin.position <= MAX_POSITION:
            yield f"{pin.movie_id} is pinned at {pin.position}; positions lie between 1 and {MAX_POSITION}"


def _check_quotas(policy: Policy) -> Iterable[str]:
    for quota in policy.quotas:
        if not 0 < quota.share <= 1:
            yield f"the share of a quota is {quota.share}; it must be above 0 and at most 1"
        if not quota.values:
            yield f"a quota of {quota.attribute} has no values"
    if sum(quota.share for quota in policy.quotas) > 1 + 1e-9:
        yield "the shares of the quotas add up to more than 1"


def _is_within(dated: ShowWindow | Pin, now: datetime) -> bool:
    return (dated.since is None or dated.since <= now) and (dated.until is None or now < dated.until)


def decode_policy(data: bytes, name: str) -> Policy:
    """Parse and check a policy in JSON. Raises :class:`ReleaseError`."""
    try:
        policy = msgspec.json.decode(data, type=Policy)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReleaseError(f"{name} is not a policy: {error}; docs/recommend.md lists its fields") from error
    check_policy(policy)
    return policy
