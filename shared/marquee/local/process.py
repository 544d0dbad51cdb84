"""One child process: its log, its health, its end.

A child never outlives us: it leads a process group of its own that is killed whole, and the guard
ends that group should we be killed before we can.
"""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from marquee.config.settings import PREFIX
from marquee.errors import MarqueeError
from marquee.local.orphan_reaper import orphan_reaper


class ProcessFailed(MarqueeError):
    """A child ended, or did not become healthy in time; the message holds the end of its log."""


# Below those that the kernel deals out: one of its choice may be the near end of somebody's connection
# by the time that the server it was meant for comes to bind it.
_FREE_PORTS = range(12_000, 32_000)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody used a moment ago."""
    while True:
        port = secrets.choice(_FREE_PORTS)
        if can_bind(port):
            return port


def can_bind(port: int) -> bool:
    """Whether a server could listen on ``port`` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # A port in TIME_WAIT is free.
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def port_open(port: int) -> bool:
    """Whether somebody listens on ``port`` of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _as_child(user: str | None, niceness: int) -> Callable[[], None]:
    account = pwd.getpwnam(user) if user else None
    register = orphan_reaper().adopt_self

    def prepare() -> None:
        register()
        os.nice(niceness)
        if account:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)

    return prepare


def inherited_environment() -> dict[str, str]:
    """Our environment without its settings: a child gets those that it is given, and no stray ones."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


@dataclass
class Process:
    """A command that runs beside us.

    ``env`` is added to our own environment, of which the settings (``MARQUEE_*``) are left out.
    ``user``: run as that account, where we are root. ``niceness``: added to ours; 10 yields to all others.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    cwd: Path | None = None
    stop_signal: int = signal.SIGTERM
    niceness: int = 0
    _child: subprocess.Popen[bytes] | None = None
    _group_ended: bool = True

    def start(self) -> None:
        """Start the command, anew if it ran before; its output is appended to ``log``."""
        self._end_group()  # A leader that died may have left workers that still hold its port.
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**inherited_environment(), **self.env},
                cwd=self.cwd,
                start_new_session=True,
                preexec_fn=_as_child(self.user, self.niceness),
            )
        self._group_ended = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs or before it was started."""
        return self._child.poll() if self._child else None

    def wait_healthy(self, healthy: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait until ``healthy()``; raises :class:`ProcessFailed` if it ends first or takes longer."""
        deadline = time.monotonic() + timeout_s
        while not healthy():
            if self.pid is None:
                raise ProcessFailed(f"{self.name} ended with code {self.returncode}. {self.log_end()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name} was not healthy within {timeout_s:g} s. {self.log_end()}")
            time.sleep(0.02)

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end and return the exit code; raises ``subprocess.TimeoutExpired``."""
        assert self._child is not None, f"{self.name} was not started"
        return self._child.wait(timeout_s)

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """Send ``sig`` to the whole group, if it still runs."""
        if self.pid is not None:
            os.killpg(self.pid, sig)

    def stop(self, grace_s: float = 10.0) -> None:
        """End it politely, then by force; its whole group is gone afterwards."""
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.send_signal(self.stop_signal)
            try:
                self._child.wait(grace_s)
            except subprocess.TimeoutExpired:
                pass
        self._end_group()

    def _end_group(self) -> None:
        """Kill what is left of the group; once only, for its id may then be another's."""
        if self._child is None or self._group_ended:
            return
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies.
            pass
        self._child.wait()
        self._group_ended = True
        orphan_reaper().release(self._child.pid)

    def log_end(self, lines: int = 15) -> str:
        """The last lines of the log, for an error message."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            text = ""
        return f"The end of {self.log}:\n" + "\n".join(text.splitlines()[-lines:])
