"""A child process with a log, a health check and a guaranteed end.

A child never outlives this process. It leads a process group that is killed as a whole, and the orphan reaper
kills that group if this process is killed first.
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
from marquee.local.port_holds import hold_port


class ProcessFailed(MarqueeError):
    """A child ended, or did not become healthy in time; the message has the end of its log."""


LIBPQ = "PG"
"""Prefix of the variables of libpq, such as PGSSLMODE and PGHOSTADDR. They would change what a database's URL says."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Below the kernel's ephemeral range: an ephemeral port may be in use as the local end of a connection by the
# time that the server binds it.
_FREE_PORTS = range(12_000, 32_000)


def free_port() -> int:
    """Return a random free TCP port of 127.0.0.1, which this process then holds (:mod:`marquee.local.port_holds`)."""
    while True:
        port = secrets.choice(_FREE_PORTS)
        if hold_port(port):
            return port


def port_open(port: int) -> bool:
    """Return True if a server listens on ``port`` of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _child_setup(user: str | None, niceness: int) -> Callable[[], None]:
    account = pwd.getpwnam(user) if user else None
    register = orphan_reaper().register_self

    def prepare() -> None:
        register()
        os.nice(niceness)
        if account:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)

    return prepare


def drop_libpq_variables() -> list[str]:
    """Remove libpq's variables from the environment of this process; return their names."""
    names = sorted(name for name in os.environ if name.startswith(LIBPQ))
    for name in names:
        del os.environ[name]
    return names


def inherited_environment() -> dict[str, str]:
    """Return the environment without settings (``MARQUEE_*``) and libpq's, so that a child gets only explicit ones.

    The proxies of the environment are not used for this machine: the parts connect to each other directly.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, LIBPQ))}
    if any(name.lower().endswith("_proxy") for name in inherited):
        exceptions = inherited.get("no_proxy") or inherited.get("NO_PROXY") or ""
        direct = ",".join(filter(None, (exceptions, *LOOPBACK)))
        inherited |= {"no_proxy": direct, "NO_PROXY": direct}
    return inherited


@dataclass
class Process:
    """A command that runs as a child process; its output is appended to ``log``.

    ``env`` are variables in addition to :func:`inherited_environment`. Only root can change ``user``. ``stop_signal``
    asks the command to end. A ``niceness`` of 10 yields to all other processes. With ``healthy``, a start is complete
    when that returns True.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    cwd: Path | None = None
    stop_signal: int = signal.SIGTERM
    niceness: int = 0
    healthy: Callable[[], bool] | None = None
    _child: subprocess.Popen[bytes] | None = None
    _group_ended: bool = True

    def start(self) -> None:
        """Start the command; what remains of an earlier run is killed first.

        Raises :class:`ProcessFailed` if it does not become healthy.
        """
        # Workers of a dead leader may still hold its port.
        self._end_group()
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
                preexec_fn=_child_setup(self.user, self.niceness),
            )
        self._group_ended = False
        if self.healthy:
            self.wait_healthy(self.healthy)

    @property
    def pid(self) -> int | None:
        """The process id while the command runs, else None."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def pids(self) -> tuple[int, ...]:
        """The process id while the command runs, as a tuple."""
        pid = self.pid
        return () if pid is None else (pid,)

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while the command runs or before its first start."""
        return self._child.poll() if self._child else None

    def wait_healthy(self, healthy: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait until ``healthy()``. Raises :class:`ProcessFailed` if the command ends first or on time-out."""
        deadline = time.monotonic() + timeout_s
        while not healthy():
            if self.pid is None:
                raise ProcessFailed(f"{self.name} ended with code {self.returncode}. {self.log_end()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name} was not healthy within {timeout_s:g} s. {self.log_end()}")
            time.sleep(0.02)

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises ``subprocess.TimeoutExpired`` on time-out."""
        assert self._child is not None, f"{self.name} was not started"
        return self._child.wait(timeout_s)

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """Send ``sig`` to the whole process group while the command runs."""
        if self.pid is not None:
            os.killpg(self.pid, sig)

    def stop(self, grace_s: float = 10.0) -> None:
        """Send the stop signal, wait up to ``grace_s``, and kill what remains of the process group."""
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
        """Kill what remains of the process group. Do it only once, because its id may be reused afterwards."""
        if self._child is None or self._group_ended:
            return
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # macOS raises PermissionError for a group of zombies.
            pass
        self._child.wait()
        self._group_ended = True
        orphan_reaper().release(self._child.pid)

    def log_end(self, lines: int = 15) -> str:
        """Return the last lines of the log, for an error message."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            text = ""
        return f"The end of {self.log}:\n" + "\n".join(text.splitlines()[-lines:])
