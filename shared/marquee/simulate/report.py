"""The account of what was produced, exact to the line, for tests and for whoever watches."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from marquee.config.atomic_file import write_atomically


class PartitionReport(msgspec.Struct):
    """What Kafka acknowledged of one partition. ``last - first + 1 == lines`` if nobody else wrote to it.

    Offsets that were not told (the broker failed, and had the line already) are not in first and last.
    """

    first: int | None = None
    last: int | None = None
    lines: int = 0


class ResponseTimes(msgspec.Struct, frozen=True):
    """Of all answers, in milliseconds; the nearest-rank percentiles, to a tenth."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0


class SimulationReport(msgspec.Struct):
    """What one run of the service produced until ``updated``.

    Lines are counted when they are acknowledged, by the kind that was meant, corrupted or not.
    ``corrupted``: kind of line -> kind of corruption -> lines. ``unreadable``: the parser's category ->
    lines: these are what a quarantine should hold; all others of ``acknowledged`` should be rows.
    """

    mode: str
    seed: int
    started: datetime
    updated: datetime
    finished: bool = False
    waiting: str = ""
    lines: dict[str, int] = {}
    acknowledged: int = 0
    unacknowledged: int = 0
    corrupted: dict[str, dict[str, int]] = {}
    unreadable: dict[str, int] = {}
    partitions: dict[str, PartitionReport] = {}
    sessions: int = 0
    sessions_recommended: int = 0
    minutes_missing: int = 0
    minutes_repeated: int = 0
    requests: dict[str, int] = {}
    requests_unfinished: int = 0
    invalid_requests: dict[str, int] = {}
    unusable_answers: int = 0
    response_ms: ResponseTimes = ResponseTimes()
    lines_per_second: float = 0.0
    requests_per_second: float = 0.0

    @property
    def readable(self) -> int:
        """Acknowledged lines that the parser reads."""
        return self.acknowledged - sum(self.unreadable.values())

    def write(self, path: Path) -> None:
        """Replace ``path`` as one step: a reader sees the report before or this one, never a part."""
        write_atomically(path, msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    @classmethod
    def read(cls, path: Path) -> SimulationReport:
        """The report in ``path``; raises ``OSError``, or ``msgspec.MsgspecError`` if it is none."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


class Stopwatch:
    """Response times, kept as counts of tenths of a millisecond: any number of them in little room."""

    def __init__(self) -> None:
        self._tenths: Counter[int] = Counter()

    def add(self, ms: float) -> None:
        self._tenths[round(ms * 10)] += 1

    def times(self) -> ResponseTimes:
        count = self._tenths.total()
        if not count:
            return ResponseTimes()
        ordered = sorted(self._tenths.items())
        mean = sum(tenths * n for tenths, n in ordered) / count / 10
        marks = [_nearest_rank(ordered, count, q) for q in (0.5, 0.9, 0.99, 0.999, 1.0)]
        return ResponseTimes(count, round(mean, 2), *marks)


def _nearest_rank(ordered: list[tuple[int, int]], count: int, q: float) -> float:
    below, rank = 0, max(1, -int(-q * count // 1))
    for tenths, n in ordered:
        below += n
        if below >= rank:
            return tenths / 10
    return ordered[-1][0] / 10


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)
