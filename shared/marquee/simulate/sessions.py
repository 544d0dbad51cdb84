"""The screens that are on: many viewings at once, their events one after the other."""

from __future__ import annotations

from datetime import datetime
from heapq import heapify, heappop, heappush, heapreplace

from marquee.events.kinds import AccountCreated, Rating, Watch
from marquee.simulate.hashed_rng import lcg_step
from marquee.simulate.watch_plan import UserPopulation, WatchPlan

UserEvent = Watch | Rating | AccountCreated

# Of the recorded watch lines, about so many skip a minute, and so many say one twice.
_UNTIDY = 0.001


class ActiveSessions:
    """Up to ``at_once`` viewings of one audience, each saying its minute every 56 to 63 seconds of its clock.

    Which event comes next depends on the seed and the recommendations only, never on the wall clock: the
    customers' clock, in seconds, moves as fast as the events are taken. ``untidy``: minutes are now and
    then missing or repeated, as in the real log.
    """

    def __init__(
        self, audience: UserPopulation, at_once: int, *, midway: bool = False, untidy: bool = False
    ) -> None:
        if at_once < 1:
            raise ValueError(f"{at_once} viewings at once: at least one is needed")
        self.audience, self._at_once = audience, at_once
        self.missing = self.repeated = self.begun = self.recommended = 0
        self._rare = int(_UNTIDY * (1 << 20)) if untidy else 0
        self._order = 0
        self._clock = 0
        self._on: list[tuple[int, int, WatchPlan]] = []
        self._fill(at_once, midway)
        heapify(self._on)

    def _fill(self, count: int, midway: bool = False) -> None:
        for _ in range(count):
            viewing = self.audience.begin(midway=midway)
            if viewing is None:
                return
            self.begun += 1
            self.recommended += viewing.recommended
            viewing.state = lcg_step(viewing.state)
            self._order += 1
            heappush(self._on, (self._clock + (viewing.state >> 58), self._order, viewing))

    def next(self, now: datetime) -> UserEvent | None:
        """The next event, at the time ``now``; None when nobody watches (for now, or for good)."""
        if len(self._on) < self._at_once and not self.audience.over:
            self._fill(self._at_once - len(self._on))
        if not self._on:
            return None
        due, order, viewing = self._on[0]
        self._clock = due
        if viewing.account:
            viewing.account = False
            heapreplace(self._on, (due + 1, order, viewing))
            return AccountCreated(now, viewing.user_id)
        if viewing.minute > viewing.last_minute:
            self._end(viewing)
            assert viewing.rating is not None, "a viewing without a rating ends with its last minute"
            return Rating(now, viewing.user_id, viewing.movie_id, viewing.rating)
        return self._watch(now, due, order, viewing)

    def _watch(self, now: datetime, due: int, order: int, viewing: WatchPlan) -> Watch:
        event = Watch(now, viewing.user_id, viewing.movie_id, viewing.minute)
        viewing.state = state = lcg_step(viewing.state)
        viewing.minute += 1
        if self._rare:
            self._stumble(viewing)
        if viewing.minute > viewing.last_minute and viewing.rating is None:
            self._end(viewing)
        else:
            heapreplace(self._on, (due + 56 + (state >> 61), order, viewing))
        return event

    def _stumble(self, viewing: WatchPlan) -> None:
        draw = (viewing.state >> 20) & 0xFFFFF
        if draw < self._rare:
            viewing.minute -= 1
            self.repeated += 1
        elif draw < 2 * self._rare and viewing.minute < viewing.last_minute:
            viewing.minute += 1
            self.missing += 1

    def _end(self, viewing: WatchPlan) -> None:
        heappop(self._on)
        self.audience.end(viewing)
