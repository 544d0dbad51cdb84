"""Where the local system keeps its things (``.local/``), and what it says of itself to other processes."""

from __future__ import annotations

import os
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
LOGS_KEPT = 3


class AlreadyRunning(MarqueeError):
    """Another runner holds this home."""


class PartState(msgspec.Struct, frozen=True):
    """One part as the runner last saw it. Times are epoch seconds; ``created`` is the kernel's, which
    together with the pid names a process for good.
    """

    name: str
    pids: tuple[int, ...]
    created: tuple[float, ...]
    started: float
    restarts: int
    port: int | None = None
    health_url: str | None = None


class SystemState(msgspec.Struct, frozen=True):
    """What ``state.json`` holds while a system runs: the runner's process, the parts in order, and the
    settings by which another process finds them.
    """

    pid: int
    ready: bool
    parts: tuple[PartState, ...] = ()
    environment: dict[str, str] = {}


@dataclass(frozen=True)
class StateDir:
    """The folder that holds data, logs and state of one local system."""

    directory: Path

    @property
    def logs(self) -> Path:
        """One file a part; older ones are ``<part>.log.1`` and so on."""
        return self.directory / "logs"

    @property
    def data(self) -> Path:
        """Kafka's log, the database, the objects: what a second start resumes on."""
        return self.directory / "data"

    @property
    def runs(self) -> Path:
        """What the scheduler ran (one file a schedule), and the simulator's reports."""
        return self.directory / "runs"

    @property
    def sockets(self) -> Path:
        """What the servers put beside them while they run."""
        return self.directory / "run"

    @property
    def state_file(self) -> Path:
        """``state.json``."""
        return self.directory / "state.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep this home for ourselves; raises :class:`AlreadyRunning`. The kernel lets go when we end."""
        self._create_folders()
        with ExitStack() as lock:
            try:
                lock.enter_context(file_lock(self._lock, timeout_s=0))
            except FileLocked as error:
                raise AlreadyRunning(self._refusal()) from error
            except OSError as error:
                raise self._unusable(error) from error
            self._end_leftovers()
            try:
                yield
            finally:
                self.state_file.unlink(missing_ok=True)

    @property
    def in_use(self) -> bool:
        """Whether a runner holds this home."""
        if not self._lock.exists():
            return False
        try:
            with file_lock(self._lock, timeout_s=0, shared=True):
                return False
        except FileLocked:
            return True

    def read_state(self) -> SystemState | None:
        """What the runner last wrote, or None."""
        try:
            return msgspec.json.decode(self.state_file.read_bytes(), type=SystemState)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def write_state(self, state: SystemState) -> None:
        """Say it anew; a reader sees the old or the new, never half."""
        write_atomically(self.state_file, msgspec.json.format(msgspec.json.encode(state), indent=2))

    def rotate_logs(self) -> None:
        """Put aside the logs that have grown large; the oldest go."""
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > LOG_BYTES:
                for number in range(LOGS_KEPT - 1, 0, -1):
                    older = log.with_name(f"{log.name}.{number}")
                    if older.exists():
                        older.rename(log.with_name(f"{log.name}.{number + 1}"))
                log.rename(log.with_name(f"{log.name}.1"))

    @property
    def _lock(self) -> Path:
        return self.directory / "lock"

    def _create_folders(self) -> None:
        try:
            for folder in (self.logs, self.data, self.runs, self.sockets):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> MarqueeError:
        return MarqueeError(
            f"{self.directory} cannot be used: {error.strerror}. Does it belong to another user? "
            "Remove it, or choose another directory with `--home DIR`."
        )

    def _refusal(self) -> str:
        state = self.read_state()
        who = f" (process {state.pid})" if state else ""
        return (
            f"Marquee already runs here{who}: its home {self.directory} is in use. "
            "See it with `marquee local status`, stop it with `marquee local down`, "
            "or start a second one with `--home DIR`."
        )

    def _end_leftovers(self) -> None:
        """End what a runner that was killed may have left in the moment before its guard acts."""
        state = self.read_state()
        for part in state.parts if state else ():
            for pid, created in zip(part.pids, part.created, strict=True):
                if created_at(pid) == created:
                    os.killpg(pid, signal.SIGKILL)
                    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)


def created_at(pid: int) -> float:
    """When the process of this id was created, in epoch seconds; 0 if there is none."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0
