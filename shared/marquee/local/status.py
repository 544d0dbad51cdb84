"""``marquee local status``: the parts, as another process sees them."""

from __future__ import annotations

import shlex
import sys
import time

from rich.console import Console
from rich.table import Table

from marquee.local.function_process import answers
from marquee.local.process import port_open
from marquee.local.state_dir import PartState, StateDir, created_at


def show_status(home: StateDir, console: Console) -> int:
    """Print the table; returns 0 if all parts are well, 1 if one is not, 3 if nothing runs."""
    state = home.read_state()
    if not home.in_use or state is None:
        console.print(f"Nothing runs in {home.directory}.")
        return 3
    healths = {part.name: health(part) for part in state.parts}
    table = Table("part", "process", "port", "up", "restarts", "health", title=None)
    for part in state.parts:
        pids = " ".join(map(str, part.pids)) or "-"
        table.add_row(
            part.name, pids, str(part.port or "-"), uptime(part), str(part.restarts), healths[part.name]
        )
    console.print(table)
    if not state.ready:
        console.print("It is starting.")
    return 0 if state.ready and set(healths.values()) == {"well"} else 1


def show_environment(home: StateDir) -> int:
    """Print the settings as ``export`` lines; returns 3 if nothing runs."""
    state = home.read_state()
    if not home.in_use or state is None:
        sys.stderr.write(f"Nothing runs in {home.directory}.\n")
        return 3
    for name, value in state.environment.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    return 0


def health(part: PartState) -> str:
    """``well``, ``ended``, or ``no answer``: asked now, of the part itself."""
    if not part.pids or any(created_at(p) != c for p, c in zip(part.pids, part.created, strict=True)):
        return "ended"
    if part.health_url:
        return "well" if answers(part.health_url)() else "no answer"
    if part.port:
        return "well" if port_open(part.port) else "no answer"
    return "well"


def uptime(part: PartState) -> str:
    """Since its last start, such as ``1:02:03``; ``-`` if it does not run."""
    if not part.pids:
        return "-"
    minutes, seconds = divmod(int(time.time() - part.started), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
