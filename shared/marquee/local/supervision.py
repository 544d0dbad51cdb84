"""Start the parts in order, restart one that dies, stop all in the order reversed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from marquee.errors import MarqueeError
from marquee.local.process import Process
from marquee.local.state_dir import PartState, created_at

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 15.0
STEADY_S = 30.0  # Up for this long, a part has recovered and its next restart is quick again.


class Program(Protocol):
    """What a part runs: one process, or several that stand and fall together."""

    def start(self) -> object:
        """Start it, anew if it ran before, and wait until it can be used; raises ``ProcessFailed``."""

    def stop(self) -> None:
        """End it; nothing of it is left."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes while all of them run; empty when one has ended."""


@dataclass
class OneProcess:
    """A :class:`Program` of one process; ``healthy`` tells when its start is complete."""

    process: Process
    healthy: Callable[[], bool] = field(default=lambda: True)
    patience_s: float = 60.0

    def start(self) -> None:
        """Start it and wait until it is healthy; raises :class:`ProcessFailed`."""
        self.process.start()
        self.process.wait_healthy(self.healthy, self.patience_s)

    def stop(self) -> None:
        """End it and its whole group."""
        self.process.stop()

    @property
    def pids(self) -> tuple[int, ...]:
        """Its process id, while it runs."""
        pid = self.process.pid
        return () if pid is None else (pid,)


@dataclass
class Part:
    """One part of the system. ``port`` and ``health_url`` are for those who ask after it.

    ``kept``: whether it is started again when it ends.
    """

    name: str
    program: Program
    port: int | None = None
    health_url: str | None = None
    kept: bool = True
    restarts: int = 0
    started: float = 0.0
    _delay_s: float = 0.0
    _due: float | None = None

    def start(self) -> None:
        """Start it and wait until it is healthy; raises :class:`ProcessFailed`."""
        self.program.start()
        self.started = time.time()

    def state(self) -> PartState:
        """How it is, for ``state.json``."""
        pids = self.program.pids
        created = tuple(created_at(pid) for pid in pids)
        return PartState(self.name, pids, created, self.started, self.restarts, self.port, self.health_url)

    def tend(self, now: float, say: Callable[[str], None]) -> bool:
        """Restart it if it has ended and its time has come; returns whether anything changed.

        ``now``: monotonic seconds. The first restart comes at once after ``FIRST_DELAY_S``, each
        further one after twice the time, up to ``LONGEST_DELAY_S``.
        """
        if self.program.pids or not self.kept:
            return False
        if self._due is None:
            steady = time.time() - self.started > STEADY_S
            self._delay_s = (
                FIRST_DELAY_S if steady else min(self._delay_s * 2 or FIRST_DELAY_S, LONGEST_DELAY_S)
            )
            self._due = now + self._delay_s
            say(f"{self.name} ended; it is started again in {self._delay_s:g} s")
            return True
        if now < self._due:
            return False
        self._due = None
        self._restart(say)
        return True

    def _restart(self, say: Callable[[str], None]) -> None:
        self.restarts += 1
        try:
            self.program.stop()
            self.start()
        except MarqueeError as error:
            self.started = time.time()
            say(f"{self.name} did not come back: {str(error).splitlines()[0]}")
            self.program.stop()
        else:
            say(f"{self.name} is back")


class Supervisor:
    """Keeps parts running. ``say`` is told each event; ``changed`` the states after each change."""

    def __init__(
        self, say: Callable[[str], None], changed: Callable[[tuple[PartState, ...]], None] = lambda _: None
    ) -> None:
        self._say = say
        self._changed = changed
        self._parts: list[Part] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self, part: Part) -> None:
        """Start a part, wait until it is healthy, and keep it up from then on; raises ``ProcessFailed``."""
        try:
            part.start()
        except BaseException:
            part.program.stop()
            raise
        with self._lock:
            self._parts.append(part)
            self._changed(self.states())
        if not self._thread.is_alive():
            self._thread.start()

    def states(self) -> tuple[PartState, ...]:
        """All parts in the order they were started."""
        with self._lock:
            return tuple(part.state() for part in self._parts)

    def stop(self, name: str | None = None) -> None:
        """Stop the part of this name and keep it stopped; or all of them, last started first."""
        if name is None:
            self._stopping.set()
        with self._lock:
            chosen = [p for p in reversed(self._parts) if name in (None, p.name)]
            for part in chosen:
                part.program.stop()
                self._parts.remove(part)
                self._changed(self.states())

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            with self._lock:
                if self._stopping.is_set():
                    return
                changes = [part.tend(time.monotonic(), self._say) for part in self._parts]
                if any(changes):
                    self._changed(self.states())
