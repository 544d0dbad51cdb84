"""What goes wrong, drawn from a seed: kills, pauses, a database that is away, full or slow, odd deliveries."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.mischief import Trick
from tests.chaos.system import BRIDGES, PARTS, ChaosSystem

from marquee.errors import MarqueeError

# A bridge that is frozen for longer than its session leaves the group, and finds out when it wakes.
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
class Tally:
    """What was done."""

    kills: Counter[str]
    other: Counter[str]

    @property
    def total(self) -> int:
        return sum(self.kills.values())


class Monkey:
    """Does harm to ``system``, the same for the same seed (as far as processes and clocks allow)."""

    def __init__(self, system: ChaosSystem, seed: int, away_s: float) -> None:
        self._system, self._chance, self._away_s = system, random.Random(seed), away_s
        self.tally = Tally(Counter(), Counter())

    def rage(self, kills: int, told: Callable[[str], None] = lambda what: None) -> None:
        """Kill so many times, with other mischief in between, and leave everything running."""
        away_at = kills // 2
        while self.tally.total < kills:
            if self.tally.total >= away_at:
                away_at = kills + 1
                told(f"database away for {self._away_s:g} s")
                self._away()
            for harm in (
                (self._trick, self._kill) if self._chance.random() < 0.8 else (self._exhaust, self._kill)
            ):
                told(harm())
            time.sleep(self._chance.uniform(0.0, 0.8))

    def _kill(self) -> str:
        part = self._chance.choice(PARTS)
        number = self._chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
        self.tally.kills[f"{signal.Signals(number).name} {part}"] += 1
        if number == signal.SIGSTOP:
            self._pause(part)
        else:
            if part == "database" and number == signal.SIGTERM:
                number = self._chance.choice([signal.SIGINT, signal.SIGQUIT])  # SIGTERM waits for clients.
            self._system.end(part, number)
            if part != "broker":  # Tansu's clients wait long for one that is away.
                time.sleep(self._chance.uniform(0.0, 0.5))
            self._system.start(part)
        return f"{signal.Signals(number).name} {part}"

    def _pause(self, part: str) -> None:
        pause_s = self._chance.uniform(*SHORT_PAUSES_S)
        if part in BRIDGES and self._chance.random() < 0.5:
            pause_s = LONG_PAUSE_S
        self._system.signal(part, signal.SIGSTOP)
        time.sleep(pause_s)
        self._system.signal(part, signal.SIGCONT)

    def _trick(self) -> str:
        tricks = self._chance.choices(list(Trick), k=self._chance.randint(1, 3))
        self.tally.other.update(str(trick) for trick in tricks)
        self._system.mischief.plan(*tricks)
        return ", ".join(tricks)

    def _exhaust(self) -> str:
        what, begin, end = self._chance.choice([("full", FULL, NOT_FULL), ("slow", SLOW, NOT_SLOW)])
        self.tally.other[f"database {what}"] += 1
        self._insist(begin)
        time.sleep(self._chance.uniform(0.2, 1.0))
        self._insist(end)
        return f"database {what}"

    def _away(self) -> None:
        self.tally.other["database away"] += 1
        self._system.end("database", signal.SIGKILL)
        time.sleep(self._away_s)
        self._system.start("database")

    def _insist(self, statement: str) -> None:
        while True:
            try:
                return self._system.execute(statement)
            except MarqueeError:
                time.sleep(0.1)
