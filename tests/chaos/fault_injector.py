"""Faults drawn from a seed: kills, pauses, a database that is down, full or slow, faulty deliveries."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.faulty_proxy import DeliveryFault
from tests.chaos.system import BRIDGES, PARTS, ChaosSystem

from marquee.errors import MarqueeError

# A bridge that is frozen for longer than its session leaves the group, and notices when it continues.
SHORT_PAUSES_S = (0.05, 0.6)
LONG_PAUSE_S = 3.0

FULL = """
CREATE OR REPLACE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE OR REPLACE TRIGGER disk_is_full BEFORE INSERT ON watches FOR EACH ROW EXECUTE FUNCTION disk_is_full()"""
NOT_FULL = "DROP TRIGGER IF EXISTS disk_is_full ON watches"
SLOW = """
CREATE OR REPLACE FUNCTION disk_is_slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(0.7); RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER disk_is_slow AFTER INSERT ON watches FOR EACH STATEMENT EXECUTE FUNCTION disk_is_slow()"""
NOT_SLOW = "DROP TRIGGER IF EXISTS disk_is_slow ON watches"


@dataclass
class FaultCounts:
    """Counts of injected faults."""

    kills: Counter[str]
    other: Counter[str]

    @property
    def total(self) -> int:
        """The number of kills."""
        return sum(self.kills.values())


class FaultInjector:
    """Injector of faults into ``system``, reproducible by seed as far as processes and clocks allow."""

    def __init__(self, system: ChaosSystem, seed: int, outage_s: float) -> None:
        self._system, self._rng, self._outage_s = system, random.Random(seed), outage_s
        self.counts = FaultCounts(Counter(), Counter())

    def inject(self, kills: int, report: Callable[[str], None] = lambda _: None) -> None:
        """Kill this many times, with other faults in between, and leave everything running."""
        outage_at = kills // 2
        while self.counts.total < kills:
            if self.counts.total >= outage_at:
                outage_at = kills + 1
                report(f"database down for {self._outage_s:g} s")
                self._stop_database()
            usual = self._rng.random() < 0.8
            report(self._plan_delivery_faults() if usual else self._degrade_database())
            report(self._kill())
            time.sleep(self._rng.uniform(0.0, 0.8))

    def _kill(self) -> str:
        part = self._rng.choice(PARTS)
        number = self._rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
        self.counts.kills[f"{signal.Signals(number).name} {part}"] += 1
        if number == signal.SIGSTOP:
            self._pause(part)
        else:
            if part == "database" and number == signal.SIGTERM:
                # On SIGTERM, PostgreSQL waits for its clients.
                number = self._rng.choice([signal.SIGINT, signal.SIGQUIT])
            self._system.end(part, number)
            if part != "broker":  # Clients of tansu wait long for an unavailable broker.
                time.sleep(self._rng.uniform(0.0, 0.5))
            self._system.start(part)
        return f"{signal.Signals(number).name} {part}"

    def _pause(self, part: str) -> None:
        pause_s = self._rng.uniform(*SHORT_PAUSES_S)
        if part in BRIDGES and self._rng.random() < 0.5:
            pause_s = LONG_PAUSE_S
        self._system.signal(part, signal.SIGSTOP)
        time.sleep(pause_s)
        self._system.signal(part, signal.SIGCONT)

    def _plan_delivery_faults(self) -> str:
        faults = self._rng.choices(list(DeliveryFault), k=self._rng.randint(1, 3))
        self.counts.other.update(str(fault) for fault in faults)
        self._system.proxy.plan(*faults)
        return ", ".join(faults)

    def _degrade_database(self) -> str:
        state, begin, end = self._rng.choice([("full", FULL, NOT_FULL), ("slow", SLOW, NOT_SLOW)])
        self.counts.other[f"database {state}"] += 1
        self._execute_until_done(begin)
        time.sleep(self._rng.uniform(0.2, 1.0))
        self._execute_until_done(end)
        return f"database {state}"

    def _stop_database(self) -> None:
        self.counts.other["database down"] += 1
        self._system.end("database", signal.SIGKILL)
        time.sleep(self._outage_s)
        self._system.start("database")

    def _execute_until_done(self, statement: str) -> None:
        while True:
            try:
                return self._system.execute(statement)
            except MarqueeError:
                time.sleep(0.1)
