"""Structured request log: one line of JSON a request, in the format of Google Cloud Logging."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from marquee.serving.answer import Answer
from marquee.serving.trace_context import TraceContext

_encode = msgspec.json.Encoder().encode


class LogEntry(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """Entry of one request. It has no user id; the impression with the same recommendation id does.

    ``total_ms`` and ``steps_ms``, by name of the step, are durations in milliseconds.
    """

    severity: str
    time: datetime
    message: str
    status: int
    total_ms: float
    steps_ms: dict[str, float] = {}
    tier: str = ""
    arm: str = ""
    model_version: str = ""
    release: int = 0
    movies: int = 0
    explored: bool = False
    notes: tuple[str, ...] = ()
    recommendation_id: str = ""
    trace: str = msgspec.field(default="", name="logging.googleapis.com/trace")
    span: str = msgspec.field(default="", name="logging.googleapis.com/spanId")
    sampled: bool = msgspec.field(default=False, name="logging.googleapis.com/trace_sampled")


def write_to_stdout(line: bytes) -> None:
    """Write a line with one system call, so that lines of different threads and processes do not mix."""
    os.write(1, line)


class RequestLog:
    """Writer of log entries. ``project`` is the cloud project that traces belong to, or empty."""

    def __init__(self, project: str = "", write: Callable[[bytes], object] = write_to_stdout) -> None:
        self._prefix = f"projects/{project}/traces/" if project else ""
        self._write_line = write

    def write(
        self, message: str, status: int, seconds: float, answer: Answer | None, trace: TraceContext | None
    ) -> None:
        """Write the entry of a request that took ``seconds``. A failed write is ignored."""
        entry = LogEntry(
            severity="INFO" if status < 500 else "ERROR",
            time=datetime.now(UTC),
            message=message,
            status=status,
            total_ms=_to_ms(seconds),
        )
        if answer is not None:
            entry.steps_ms = {step: _to_ms(duration) for step, duration in answer.seconds.items()}
            entry.tier, entry.arm, entry.model_version = answer.tier, answer.arm, answer.version
            entry.release, entry.movies, entry.explored = answer.release, len(answer.movies), answer.explored
            entry.notes, entry.recommendation_id = answer.notes, answer.recommendation_id
        if trace is not None:
            entry.trace, entry.span, entry.sampled = (
                self._prefix + trace.trace_id,
                trace.span_id,
                trace.sampled,
            )
        try:
            self._write_line(_encode(entry) + b"\n")
        except OSError:
            pass


def _to_ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
