"""The state directory of a local system (``.local/``): its data, logs, runs and current state."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from marquee.config.atomic_file import write_atomically
from marquee.config.file_lock import FileLocked, file_lock
from marquee.errors import MarqueeError

LOG_BYTES = 5_000_000
MAX_ROTATED_LOGS = 3


class AlreadyRunning(MarqueeError):
    """Another runner has locked the state directory."""


class PartState(msgspec.Struct, frozen=True):
    """One part as the runner last saw it.

    Times are epoch seconds. ``created`` is the kernel's creation time, which together with the pid identifies
    a process although pids are reused. ``heartbeat`` is the file that the part touches while it works.
    """

    name: str
    pids: tuple[int, ...]
    created: tuple[float, ...]
    started: float
    restarts: int
    port: int | None = None
    health_url: str | None = None
    heartbeat: str | None = None


class SystemState(msgspec.Struct, frozen=True):
    """The content of ``state.json`` while a system runs.

    ``pid`` is the runner's. ``environment`` has the settings with which other processes find the parts.
    """

    pid: int
    ready: bool
    parts: tuple[PartState, ...] = ()
    environment: dict[str, str] = {}
    kafka_in_memory: bool = False


@dataclass(frozen=True)
class StateDir:
    """The directory that holds data, logs and state of one local system."""

    directory: Path

    @property
    def logs(self) -> Path:
        """The logs, one file per part; older ones are ``<part>.log.1`` and so on."""
        return self.directory / "logs"

    @property
    def data(self) -> Path:
        """Kafka's log, the database and the objects, which a later start continues with."""
        return self.directory / "data"

    def read_privacy_key(self) -> str:
        """Return the secret of the keyed hashes of this system, made with its data and kept with them."""
        path = self.data / "privacy.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, secrets.token_hex(32).encode())
            path.chmod(0o600)
        return path.read_text().strip()

    @property
    def runs(self) -> Path:
        """The scheduler's runs, one file per schedule, and the simulator's reports."""
        return self.directory / "runs"

    @property
    def state_file(self) -> Path:
        """The path of ``state.json``."""
        return self.directory / "state.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory for this process. Raises :class:`AlreadyRunning` if another one has it.

        The kernel releases the lock if this process is killed. Processes that an earlier runner left are
        killed first.
        """
        with ExitStack() as lock:
            try:
                for folder in (self.logs, self.data, self.runs):
                    folder.mkdir(parents=True, exist_ok=True)
                lock.enter_context(file_lock(self._lock_file, timeout_s=0))
            except FileLocked as error:
                raise AlreadyRunning(self._describe_owner()) from error
            except OSError as error:
                raise MarqueeError(
                    f"{self.directory} cannot be used: {error.strerror}. Does it belong to another user? "
                    "Remove it, or choose another directory with `--state-dir DIR`."
                ) from error
            self._kill_leftovers()
            try:
                yield
            finally:
                self.state_file.unlink(missing_ok=True)

    @property
    def in_use(self) -> bool:
        """True if a runner has locked the directory."""
        if not self._lock_file.exists():
            return False
        try:
            with file_lock(self._lock_file, timeout_s=0, shared=True):
                return False
        except FileLocked:
            return True

    def read_state(self) -> SystemState | None:
        """Return the state that the runner last wrote, or None."""
        try:
            return msgspec.json.decode(self.state_file.read_bytes(), type=SystemState)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def write_state(self, state: SystemState) -> None:
        """Replace ``state.json`` atomically."""
        write_atomically(self.state_file, msgspec.json.format(msgspec.json.encode(state), indent=2))

    def rotate_logs(self) -> None:
        """Rename logs over :data:`LOG_BYTES` to ``.1``, ``.2`` and so on; the oldest are deleted."""
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > LOG_BYTES:
                for number in range(MAX_ROTATED_LOGS - 1, 0, -1):
                    older = log.with_name(f"{log.name}.{number}")
                    if older.exists():
                        older.rename(log.with_name(f"{log.name}.{number + 1}"))
                log.rename(log.with_name(f"{log.name}.1"))

    @property
    def _lock_file(self) -> Path:
        return self.directory / "lock"

    def _describe_owner(self) -> str:
        state = self.read_state()
        process = f" (process {state.pid})" if state else ""
        return (
            f"Marquee is already running{process}: its state directory {self.directory} is in use. "
            "See its state with `marquee local status`, stop it with `marquee local down`, "
            "or start a second system with `--state-dir DIR`."
        )

    def _kill_leftovers(self) -> None:
        """Kill processes of a killed runner that its orphan reaper has not reached yet."""
        state = self.read_state()
        for part in state.parts if state else ():
            for pid, created in zip(part.pids, part.created, strict=True):
                if process_created_at(pid) == created:
                    os.killpg(pid, signal.SIGKILL)
                    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)


def process_created_at(pid: int) -> float:
    """Return the creation time of process ``pid`` in epoch seconds, or 0 if there is no such process."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0
