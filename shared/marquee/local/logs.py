"""``marquee local logs``: the logs of the parts."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path

from marquee.errors import MarqueeError
from marquee.local.state_dir import StateDir


def show_logs(state_dir: StateDir, part: str | None, lines: int, follow: bool) -> int:
    """Print the last ``lines`` of one part's log or of all; with ``follow``, continue until Ctrl-C.

    Raises :class:`MarqueeError` with the names of all logs if ``part`` has none.
    """
    logs = _find_logs(state_dir, part)
    with_name = len(logs) > 1
    ends = {log: _print_tail(log, lines, with_name) for log in logs}
    try:
        while follow:
            time.sleep(0.2)
            for log in _find_logs(state_dir, part):
                ends[log] = _print_from(log, ends.get(log, 0), with_name)
    except KeyboardInterrupt:
        pass
    return 0


def _find_logs(state_dir: StateDir, part: str | None) -> list[Path]:
    logs = sorted(state_dir.logs.glob("*.log"))
    if part is None:
        return logs
    selected = [log for log in logs if log.stem == part]
    if not selected:
        names = ", ".join(log.stem for log in logs) or "none"
        raise MarqueeError(f"there is no log of {part!r} in {state_dir.logs}; there are: {names}")
    return selected


def _print_tail(log: Path, lines: int, with_name: bool) -> int:
    with log.open("rb") as file:
        for line in deque(file, maxlen=lines):
            _print_line(log, line, with_name)
        return file.tell()


def _print_from(log: Path, start: int, with_name: bool) -> int:
    with log.open("rb") as file:
        # A shorter file is a new one after a rotation: print it from its start.
        if file.seek(0, 2) < start:
            start = 0
        file.seek(start)
        for line in file:
            _print_line(log, line, with_name)
        return file.tell()


def _print_line(log: Path, line: bytes, with_name: bool) -> None:
    text = line.decode(errors="replace").rstrip("\n")
    sys.stdout.write(f"{log.stem:>14} | {text}\n" if with_name else f"{text}\n")
    sys.stdout.flush()
