"""``marquee local logs``: what the parts wrote."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path

from marquee.errors import MarqueeError
from marquee.local.state_dir import StateDir


def show_logs(home: StateDir, part: str | None, lines: int, follow: bool) -> int:
    """Print the last ``lines`` of one part's log or of all; then go on, if asked, until Ctrl-C.

    Raises :class:`MarqueeError` that lists the logs there are, if there is none of that part.
    """
    logs = _chosen(home, part)
    named = len(logs) > 1
    ends = {log: _tail(log, lines, named) for log in logs}
    try:
        while follow:
            time.sleep(0.2)
            for log in _chosen(home, part):
                ends[log] = _rest(log, ends.get(log, 0), named)
    except KeyboardInterrupt:
        pass
    return 0


def _chosen(home: StateDir, part: str | None) -> list[Path]:
    logs = sorted(home.logs.glob("*.log"))
    if part is None:
        return logs
    chosen = [log for log in logs if log.stem == part]
    if not chosen:
        there = ", ".join(log.stem for log in logs) or "none"
        raise MarqueeError(f"there is no log of {part!r} in {home.logs}; there are: {there}")
    return chosen


def _tail(log: Path, lines: int, named: bool) -> int:
    with log.open("rb") as file:
        for line in deque(file, maxlen=lines):
            _write(log, line, named)
        return file.tell()


def _rest(log: Path, start: int, named: bool) -> int:
    with log.open("rb") as file:
        if file.seek(0, 2) < start:  # Put aside by a new start: begin with the new one.
            start = 0
        file.seek(start)
        for line in file:
            _write(log, line, named)
        return file.tell()


def _write(log: Path, line: bytes, named: bool) -> None:
    text = line.decode(errors="replace").rstrip("\n")
    sys.stdout.write(f"{log.stem:>14} | {text}\n" if named else f"{text}\n")
    sys.stdout.flush()
