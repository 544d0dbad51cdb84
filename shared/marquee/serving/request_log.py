"""One line of JSON for each request, in the form that Google Cloud Logging understands."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from marquee.serving.recommender import Answer
from marquee.serving.trace_context import TraceContext

_encode = msgspec.json.Encoder().encode


class LogEntry(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """What is said of one request. No user id: the impression of the same recommendation id has it.

    ``total_ms`` and ``steps_ms`` are milliseconds; the latter by the name of the step.
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


def to_stdout(line: bytes) -> None:
    """One write a line, so that lines of several threads and processes do not mix."""
    os.write(1, line)


class RequestLog:
    """Writes the lines. ``project``: the cloud project that traces belong to, or empty."""

    def __init__(self, project: str = "", write: Callable[[bytes], object] = to_stdout) -> None:
        self._prefix = f"projects/{project}/traces/" if project else ""
        self._write = write

    def wrote(
        self, message: str, status: int, seconds: float, answer: Answer | None, trace: TraceContext | None
    ) -> None:
        """Write the line of a request that took ``seconds``. A log that cannot be written stops no answer."""
        line = LogEntry(
            severity="INFO" if status < 500 else "ERROR",
            time=datetime.now(UTC),
            message=message,
            status=status,
            total_ms=_ms(seconds),
        )
        if answer is not None:
            line.steps_ms = {step: _ms(took) for step, took in answer.seconds.items()}
            line.tier, line.arm, line.model_version = answer.tier, answer.arm, answer.version
            line.release, line.movies, line.explored = answer.release, len(answer.movies), answer.explored
            line.notes, line.recommendation_id = answer.notes, answer.recommendation_id
        if trace is not None:
            line.trace, line.span, line.sampled = self._prefix + trace.trace_id, trace.span_id, trace.sampled
        try:
            self._write(_encode(line) + b"\n")
        except OSError:
            pass


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
