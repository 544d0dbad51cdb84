"""``marquee local status`` and ``env``: the state of the parts, and their settings."""

from __future__ import annotations

import shlex
import sys
import time

from rich.console import Console
from rich.table import Table

from marquee.local.function_process import health_check
from marquee.local.process import port_open
from marquee.local.state_dir import PartState, StateDir, process_created_at

HEALTHY, ENDED, NO_RESPONSE = "healthy", "ended", "no response"


def show_status(state_dir: StateDir, console: Console) -> int:
    """Print the table of parts; return 0 if all are healthy, 1 if one is not, 3 if nothing runs."""
    state = state_dir.read_state()
    if not state_dir.in_use or state is None:
        console.print(f"Nothing runs in {state_dir.directory}.")
        return 3
    table = Table("part", "process", "port", "uptime", "restarts", "health", title=None)
    healths = {part.name: check_health(part) for part in state.parts}
    for part in state.parts:
        pids = " ".join(map(str, part.pids)) or "-"
        port, health = str(part.port or "-"), healths[part.name]
        table.add_row(part.name, pids, port, format_uptime(part), str(part.restarts), health)
    console.print(table)
    if not state.ready:
        console.print("The system is starting.")
    return 0 if state.ready and set(healths.values()) == {HEALTHY} else 1


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
    """Return :data:`HEALTHY`, :data:`ENDED` or :data:`NO_RESPONSE`, by a request to the part itself."""
    created = zip(part.pids, part.created, strict=True)
    if not part.pids or any(process_created_at(pid) != moment for pid, moment in created):
        return ENDED
    if part.health_url:
        return HEALTHY if health_check(part.health_url)() else NO_RESPONSE
    if part.port:
        return HEALTHY if port_open(part.port) else NO_RESPONSE
    return HEALTHY


def format_uptime(part: PartState) -> str:
    """Return the time since the part's last start, such as ``1:02:03``; ``-`` if it does not run."""
    if not part.pids:
        return "-"
    minutes, seconds = divmod(int(time.time() - part.started), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
