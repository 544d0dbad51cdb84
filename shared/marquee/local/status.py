"""``marquee local status`` and ``env``: the state of the parts, and their settings."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import psutil
from rich.console import Console

from marquee.config.settings import Settings
from marquee.errors import MarqueeError
from marquee.local.function_process import health_check
from marquee.local.process import port_open
from marquee.local.state_dir import PartState, StateDir, SystemState, process_created_at
from marquee.local.unread_records import unread_age_s

HEALTHY, ENDED, NO_RESPONSE = "healthy", "ended", "no response"
# The bridge touches its health file every second, once it has joined its group.
HEARTBEAT_S = 10.0
HEARTBEAT_GRACE_S = 30.0
# A healthy bridge is behind by a second or two.
MAX_UNREAD_S = 60.0
_HEADINGS = ("part", "process", "port", "uptime", "restarts", "health")


class PartStatus(msgspec.Struct, frozen=True):
    """One part in ``status --json``: as in ``state.json``, with its health at present."""

    name: str
    pids: tuple[int, ...]
    port: int | None
    uptime_s: int | None
    restarts: int
    health: str


class SystemStatus(msgspec.Struct, frozen=True):
    """The document of ``status --json``.

    ``unread_s`` is the age of the oldest record that the bridge has not committed; None if Kafka does not answer.
    """

    state: str
    healthy: bool
    parts: tuple[PartStatus, ...] = ()
    unread_s: float | None = None
    notes: tuple[str, ...] = ()


def show_status(state_dir: StateDir, console: Console, *, as_json: bool = False) -> int:
    """Print the parts; return 0 if all are healthy, 1 if one is not, 3 if nothing runs."""
    status = read_status(state_dir)
    if as_json:
        sys.stdout.write(msgspec.json.encode(status).decode() + "\n")
    elif status.state == "stopped":
        console.print(f"Nothing runs in {state_dir.directory}.")
    else:
        _print(status, console)
    if status.state == "stopped":
        return 3
    return 0 if status.healthy else 1


def read_status(state_dir: StateDir) -> SystemStatus:
    """Return the status of the system, by requests to its parts."""
    state = state_dir.read_state()
    if not state_dir.in_use or state is None:
        return SystemStatus("stopped", healthy=False)
    parts = tuple(_part_status(part) for part in state.parts)
    unread_s, notes = _unread(state)
    healthy = state.ready and not notes and all(part.health == HEALTHY for part in parts)
    if state.kafka_in_memory:
        notes.append("Kafka is in memory: if it is killed, records that are not yet written are lost.")
    return SystemStatus("running" if state.ready else "starting", healthy, parts, unread_s, tuple(notes))


def show_environment(state_dir: StateDir) -> int:
    """Print the settings as ``export`` lines; return 3 if nothing runs."""
    state = state_dir.read_state()
    if not state_dir.in_use or state is None:
        sys.stderr.write(f"Nothing runs in {state_dir.directory}.\n")
        return 3
    for name, value in state.environment.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    return 0


def check_health(part: PartState) -> str:
    """Return :data:`HEALTHY`, or what is wrong and since when, by a request to the part itself."""
    created = zip(part.pids, part.created, strict=True)
    if not part.pids or any(process_created_at(pid) != moment for pid, moment in created):
        return ENDED
    beat = _last_heartbeat(part)
    if any(_is_stopped(pid) for pid in part.pids):
        return "stopped by a signal" + (f", no progress since {_clock(beat)}" if beat else "")
    if beat and time.time() - max(beat, part.started + HEARTBEAT_GRACE_S - HEARTBEAT_S) > HEARTBEAT_S:
        return f"no progress since {_clock(beat)}"
    if part.health_url:
        return HEALTHY if health_check(part.health_url)() else NO_RESPONSE
    if part.port:
        return HEALTHY if port_open(part.port) else NO_RESPONSE
    return HEALTHY


def format_uptime(seconds: int | None) -> str:
    """Return an uptime such as ``1:02:03``; ``-`` if the part does not run."""
    if seconds is None:
        return "-"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _part_status(part: PartState) -> PartStatus:
    uptime_s = int(time.time() - part.started) if part.pids else None
    return PartStatus(part.name, part.pids, part.port, uptime_s, part.restarts, check_health(part))


def _unread(state: SystemState) -> tuple[float | None, list[str]]:
    """Return the age of the oldest unread record, and what is wrong with it."""
    if not {"kafka", "bridge"} <= {part.name for part in state.parts if part.pids}:
        return None, []
    try:
        unread_s = round(unread_age_s(Settings.from_mapping(state.environment)), 1)
    except MarqueeError as error:
        return None, [str(error)]
    if unread_s <= MAX_UNREAD_S:
        return unread_s, []
    return unread_s, [f"The bridge is behind: the oldest unread record is {unread_s:,.0f} s old."]


def _print(status: SystemStatus, console: Console) -> None:
    console.print("\n".join(_align([_HEADINGS, *map(_row, status.parts)])), soft_wrap=True)
    if status.unread_s is not None:
        console.print(f"Oldest unread record: {status.unread_s:.1f} s old.", soft_wrap=True)
    for note in status.notes:
        console.print(note, soft_wrap=True)
    if status.state == "starting":
        console.print("The system is starting.")


def _row(part: PartStatus) -> tuple[str, ...]:
    pids = " ".join(map(str, part.pids)) or "-"
    uptime = format_uptime(part.uptime_s)
    return part.name, pids, str(part.port or "-"), uptime, str(part.restarts), part.health


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _last_heartbeat(part: PartState) -> float | None:
    """Return the modification time of the part's health file, or the time of its start if that is later."""
    if part.heartbeat is None:
        return None
    try:
        return max(part.started, Path(part.heartbeat).stat().st_mtime)
    except OSError:
        return part.started


def _is_stopped(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _clock(moment: float) -> str:
    passed = int(time.time() - moment)
    return f"{datetime.fromtimestamp(moment).astimezone():%H:%M:%S %Z} ({passed:,} s)"
