"""Redaction of user ids in log files.

A file is overwritten in place and keeps its length, because its writer has it open and appends to it.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def redact_logs(directories: Iterable[Path], users: Sequence[str]) -> dict[str, int]:
    """Overwrite the ids of the users with asterisks in every file ``*.log*``; return the number redacted by user."""
    counts = dict.fromkeys(users, 0)
    if not users:
        return counts
    pattern = _pattern(users)
    for path in _files(directories):
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
            for match in pattern.finditer(content):
                start, end = match.span("id")
                counts[match["id"].decode()] += 1
                content[start:end] = b"*" * (end - start)
    return counts


def _files(directories: Iterable[Path]) -> list[Path]:
    found = (path for directory in directories for path in sorted(directory.glob("*.log*")))
    return [path for path in found if path.is_file() and path.stat().st_size]


def _pattern(users: Sequence[str]) -> re.Pattern[bytes]:
    """Return a pattern of the ids where a log names a user; a bare 42 could also be a duration or a port."""
    ids = b"|".join(re.escape(user.encode("utf-8", "surrogatepass")) for user in sorted(users, key=len, reverse=True))
    before = rb"""(?:/recommend/|/users?/|\buser(?:_id)?['"]?\s?[:=]?\s?['"]?|[0-9],)"""
    return re.compile(before + rb"(?P<id>" + ids + rb""")(?=[\s'"?&/,.;:)\]}]|$)""", re.MULTILINE)
