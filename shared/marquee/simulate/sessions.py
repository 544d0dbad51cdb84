"""Active watch sessions, whose events are interleaved in order of time."""

from __future__ import annotations

from datetime import datetime
from heapq import heapify, heappop, heappush, heapreplace

from marquee.events.kinds import AccountCreated, Rating, Watch
from marquee.simulate.hashed_rng import lcg_step
from marquee.simulate.watch_plan import PlannedSession, UserPopulation

UserEvent = Watch | Rating | AccountCreated

# Of the recorded watches, about this fraction skips a minute, and the same fraction repeats one.
_IRREGULAR_FRACTION = 0.001


class ActiveSessions:
    """Up to ``concurrency`` watch sessions of ``population``, each with a watch every 56 to 63 simulated seconds.

    The order of events depends on the seed and the recommendations only, never on the wall clock: simulated
    time advances as events are taken. With ``irregular``, some minutes are missing or repeated, as in the
    real event log.
    """

    def __init__(
        self, population: UserPopulation, concurrency: int, *, midway: bool = False, irregular: bool = False
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"{concurrency} concurrent watch sessions: at least one is required")
        self.population, self._concurrency = population, concurrency
        self.minutes_missing = self.minutes_repeated = self.started = self.recommended = 0
        self._irregular = int(_IRREGULAR_FRACTION * (1 << 20)) if irregular else 0
        self._order = 0
        self._clock = 0
        # A heap by due time; the order of starting breaks ties.
        self._active: list[tuple[int, int, PlannedSession]] = []
        self._start_sessions(concurrency, midway)
        heapify(self._active)

    def _start_sessions(self, count: int, midway: bool = False) -> None:
        for _ in range(count):
            session = self.population.start_session(midway=midway)
            if session is None:
                return
            self.started += 1
            self.recommended += session.recommended
            session.state = lcg_step(session.state)
            self._order += 1
            heappush(self._active, (self._clock + (session.state >> 58), self._order, session))

    def next_event(self, now: datetime) -> UserEvent | None:
        """Return the next event, with the time ``now``; None if no session is active."""
        if len(self._active) < self._concurrency and not self.population.finished:
            self._start_sessions(self._concurrency - len(self._active))
        if not self._active:
            return None
        due, order, session = self._active[0]
        self._clock = due
        if session.account:
            session.account = False
            heapreplace(self._active, (due + 1, order, session))
            return AccountCreated(now, session.user_id)
        if session.minute > session.last_minute:
            self._end(session)
            assert session.rating is not None, "a watch session without a rating ends with its last minute"
            return Rating(now, session.user_id, session.movie_id, session.rating)
        return self._watch(now, due, order, session)

    def _watch(self, now: datetime, due: int, order: int, session: PlannedSession) -> Watch:
        event = Watch(now, session.user_id, session.movie_id, session.minute)
        session.state = state = lcg_step(session.state)
        session.minute += 1
        if self._irregular:
            self._skip_or_repeat_minute(session)
        if session.minute > session.last_minute and session.rating is None:
            self._end(session)
        else:
            heapreplace(self._active, (due + 56 + (state >> 61), order, session))
        return event

    def _skip_or_repeat_minute(self, session: PlannedSession) -> None:
        draw = (session.state >> 20) & 0xFFFFF
        if draw < self._irregular:
            session.minute -= 1
            self.minutes_repeated += 1
        elif draw < 2 * self._irregular and session.minute < session.last_minute:
            session.minute += 1
            self.minutes_missing += 1

    def _end(self, session: PlannedSession) -> None:
        heappop(self._active)
        self.population.end_session(session)
