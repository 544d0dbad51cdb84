"""The screens that are on: many watch sessions at once, their events one after the other."""

from __future__ import annotations

from datetime import datetime
from heapq import heapify, heappop, heappush, heapreplace

from marquee.events.kinds import AccountCreated, Rating, Watch
from marquee.simulate.hashed_rng import lcg_step
from marquee.simulate.watch_plan import UserPopulation, WatchSession

UserEvent = Watch | Rating | AccountCreated

# Of the recorded watch lines, about so many skip a minute, and so many say one twice.
_UNTIDY = 0.001


class ActiveSessions:
    """Up to ``at_once`` watch sessions of one audience, each saying its minute every 56 to 63 seconds of its clock.

    Which event comes next depends on the seed and the recommendations only, never on the wall clock: the
    customers' clock, in seconds, moves as fast as the events are taken. ``untidy``: minutes are now and
    then missing or repeated, as in the real log.
    """

    def __init__(
        self, audience: UserPopulation, at_once: int, *, midway: bool = False, untidy: bool = False
    ) -> None:
        if at_once < 1:
            raise ValueError(f"{at_once} watch sessions at once: at least one is needed")
        self.audience, self._at_once = audience, at_once
        self.missing = self.repeated = self.begun = self.recommended = 0
        self._rare = int(_UNTIDY * (1 << 20)) if untidy else 0
        self._order = 0
        self._clock = 0
        self._on: list[tuple[int, int, WatchSession]] = []
        self._fill(at_once, midway)
        heapify(self._on)

    def _fill(self, count: int, midway: bool = False) -> None:
        for _ in range(count):
            session = self.audience.begin(midway=midway)
            if session is None:
                return
            self.begun += 1
            self.recommended += session.recommended
            session.state = lcg_step(session.state)
            self._order += 1
            heappush(self._on, (self._clock + (session.state >> 58), self._order, session))

    def next(self, now: datetime) -> UserEvent | None:
        """The next event, at the time ``now``; None when nobody watches (for now, or for good)."""
        if len(self._on) < self._at_once and not self.audience.over:
            self._fill(self._at_once - len(self._on))
        if not self._on:
            return None
        due, order, session = self._on[0]
        self._clock = due
        if session.account:
            session.account = False
            heapreplace(self._on, (due + 1, order, session))
            return AccountCreated(now, session.user_id)
        if session.minute > session.last_minute:
            self._end(session)
            assert session.rating is not None, "a watch session without a rating ends with its last minute"
            return Rating(now, session.user_id, session.movie_id, session.rating)
        return self._watch(now, due, order, session)

    def _watch(self, now: datetime, due: int, order: int, session: WatchSession) -> Watch:
        event = Watch(now, session.user_id, session.movie_id, session.minute)
        session.state = state = lcg_step(session.state)
        session.minute += 1
        if self._rare:
            self._stumble(session)
        if session.minute > session.last_minute and session.rating is None:
            self._end(session)
        else:
            heapreplace(self._on, (due + 56 + (state >> 61), order, session))
        return event

    def _stumble(self, session: WatchSession) -> None:
        draw = (session.state >> 20) & 0xFFFFF
        if draw < self._rare:
            session.minute -= 1
            self.repeated += 1
        elif draw < 2 * self._rare and session.minute < session.last_minute:
            session.minute += 1
            self.missing += 1

    def _end(self, session: WatchSession) -> None:
        heappop(self._on)
        self.audience.end(session)
