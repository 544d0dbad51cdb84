"""Supervision: parts start in order, restart when they end, and stop in reverse order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from marquee.errors import MarqueeError
from marquee.local.state_dir import PartState, process_created_at

FIRST_DELAY_S = 0.5
MAX_DELAY_S = 15.0
# After this uptime a part counts as recovered, and its next restart has the first delay again.
STEADY_S = 30.0


class Program(Protocol):
    """The program of a part: one process, or several that run together."""

    def start(self) -> object:
        """Start or restart the program and wait until it is healthy. Raises :class:`ProcessFailed` otherwise."""

    def stop(self) -> None:
        """End all its processes."""

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids while all of its processes run; empty when one has ended."""


@dataclass
class Part:
    """One part of the system.

    ``port``, ``health_url`` and ``heartbeat``, a file that it touches while it works, are for status checks.
    ``supervised``: restart the part when it ends.
    """

    name: str
    program: Program
    port: int | None = None
    health_url: str | None = None
    supervised: bool = True
    heartbeat: Path | None = None
    restarts: int = 0
    started: float = 0.0
    _delay_s: float = 0.0
    _due: float | None = None

    def start(self) -> None:
        """Start the part and wait until it is healthy. Raises :class:`ProcessFailed` if it does not become so."""
        self.program.start()
        self.started = time.time()

    def state(self) -> PartState:
        """Return the current state for ``state.json``."""
        pids = self.program.pids
        created = tuple(process_created_at(pid) for pid in pids)
        heartbeat = str(self.heartbeat) if self.heartbeat else None
        return PartState(self.name, pids, created, self.started, self.restarts, self.port, self.health_url, heartbeat)

    def restart_if_due(self, now: float, notify: Callable[[str], None]) -> bool:
        """Restart the part if it has ended and its delay has passed; return True if its state changed.

        ``now`` is in monotonic seconds. The first restart follows after :data:`FIRST_DELAY_S`, each further one after
        twice the previous delay, up to :data:`MAX_DELAY_S`.
        """
        if self.program.pids or not self.supervised:
            return False
        if self._due is None:
            self._delay_s = self._next_delay()
            self._due = now + self._delay_s
            notify(f"{self.name} ended; it restarts in {self._delay_s:g} s")
            return True
        if now < self._due:
            return False
        self._due = None
        self._restart(notify)
        return True

    def _next_delay(self) -> float:
        if time.time() - self.started > STEADY_S:
            return FIRST_DELAY_S
        return min(self._delay_s * 2 or FIRST_DELAY_S, MAX_DELAY_S)

    def _restart(self, notify: Callable[[str], None]) -> None:
        self.restarts += 1
        try:
            self.program.stop()
            self.start()
        except MarqueeError as error:
            self.started = time.time()
            notify(f"{self.name} did not restart: {str(error).splitlines()[0]}")
            self.program.stop()
        else:
            notify(f"{self.name} restarted")


class Supervisor:
    """A thread that keeps parts running.

    ``notify`` is called with a sentence for each event, ``on_change`` with all states after each change.
    """

    def __init__(
        self,
        notify: Callable[[str], None],
        on_change: Callable[[tuple[PartState, ...]], None] = lambda _: None,
    ) -> None:
        self._notify = notify
        self._on_change = on_change
        self._parts: list[Part] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self, part: Part) -> None:
        """Start a part, wait until it is healthy, and supervise it. Raises :class:`ProcessFailed` if it fails."""
        try:
            part.start()
        except BaseException:
            part.program.stop()
            raise
        with self._lock:
            self._parts.append(part)
            self._on_change(self.states())
        if not self._thread.is_alive():
            self._thread.start()

    def states(self) -> tuple[PartState, ...]:
        """Return the states of all parts in the order of their start."""
        with self._lock:
            return tuple(part.state() for part in self._parts)

    def stop(self, name: str | None = None) -> None:
        """Stop the part ``name`` without a restart, or all parts in reverse order."""
        if name is None:
            self._stopping.set()
        with self._lock:
            selected = [part for part in reversed(self._parts) if name in (None, part.name)]
            for part in selected:
                part.program.stop()
                self._parts.remove(part)
                self._on_change(self.states())

    def _run(self) -> None:
        while not self._stopping.wait(0.1):
            with self._lock:
                if self._stopping.is_set():
                    return
                changes = [part.restart_if_due(time.monotonic(), self._notify) for part in self._parts]
                if any(changes):
                    self._on_change(self.states())
