"""The report of a simulation: exact counts of all records that it produced."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import msgspec

from marquee.config.atomic_file import write_atomically


class PartitionReport(msgspec.Struct):
    """The offsets that Kafka acknowledged in one partition.

    ``last - first + 1 == records`` if no other producer wrote to it. Offsets that Kafka did not report (retries of
    records that the broker already had) are not in ``first`` and ``last``.
    """

    first: int | None = None
    last: int | None = None
    records: int = 0


class ResponseTimes(msgspec.Struct, frozen=True):
    """Response times in milliseconds: nearest-rank percentiles, to 0.1 ms."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0


class SimulationReport(msgspec.Struct):
    """The state of one simulation at ``updated``.

    Records are counted when they are acknowledged, by the kind that was meant, corrupted or not.

    ``exhausted``: users have nothing left to watch; they only request lists.
    ``records``: kind -> records. ``corrupted``: kind -> corruption -> records. ``malformed``: the parser's
    category -> records; these belong into quarantine, all others of ``acknowledged`` into the tables.
    ``problem``: the reason why records are not acknowledged at present, or empty.
    """

    mode: str
    seed: int
    started: datetime
    updated: datetime
    finished: bool = False
    exhausted: bool = False
    problem: str = ""
    records: dict[str, int] = {}
    acknowledged: int = 0
    unacknowledged: int = 0
    corrupted: dict[str, dict[str, int]] = {}
    malformed: dict[str, int] = {}
    partitions: dict[str, PartitionReport] = {}
    sessions: int = 0
    sessions_recommended: int = 0
    minutes_missing: int = 0
    minutes_repeated: int = 0
    requests: dict[str, int] = {}
    requests_in_flight: int = 0
    invalid_requests: dict[str, int] = {}
    invalid_responses: int = 0
    response_ms: ResponseTimes = ResponseTimes()
    records_per_second: float = 0.0
    requests_per_second: float = 0.0

    def with_earlier(self, earlier: SimulationReport | None) -> SimulationReport:
        """Return the totals with an ``earlier`` simulation of the same demo, if there is one; states are this one's."""
        if earlier is None:
            return self
        total = {name: getattr(earlier, name) + getattr(self, name) for name in _SUMS}
        for name in _COUNTS_BY_NAME:
            total[name] = dict(Counter(getattr(earlier, name)) + Counter(getattr(self, name)))
        kinds = earlier.corrupted.keys() | self.corrupted.keys()
        total["corrupted"] = {
            kind: dict(Counter(earlier.corrupted.get(kind)) + Counter(self.corrupted.get(kind))) for kind in kinds
        }
        finished = earlier.finished and self.finished
        return msgspec.structs.replace(self, started=earlier.started, finished=finished, **total)

    def write(self, path: Path) -> None:
        """Replace ``path`` atomically."""
        write_atomically(path, msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    @classmethod
    def read(cls, path: Path) -> SimulationReport:
        """Read the report in ``path``. Raises ``OSError``, or ``msgspec.MsgspecError`` if it is invalid."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


_SUMS = (
    "acknowledged",
    "unacknowledged",
    "sessions",
    "sessions_recommended",
    "minutes_missing",
    "minutes_repeated",
    "invalid_responses",
)
_COUNTS_BY_NAME = ("records", "malformed", "requests", "invalid_requests")


class ResponseHistogram:
    """Response times as counts of tenths of a millisecond; memory does not grow with their number."""

    def __init__(self) -> None:
        self._tenths: Counter[int] = Counter()

    def add(self, ms: float) -> None:
        """Count one response time in milliseconds."""
        self._tenths[round(ms * 10)] += 1

    def summarize(self) -> ResponseTimes:
        """Return the mean and percentiles of the counted times."""
        count = self._tenths.total()
        if not count:
            return ResponseTimes()
        ordered = sorted(self._tenths.items())
        mean = sum(tenths * n for tenths, n in ordered) / count / 10
        percentiles = [_nearest_rank(ordered, count, q) for q in (0.5, 0.9, 0.99, 0.999, 1.0)]
        return ResponseTimes(count, round(mean, 2), *percentiles)


def _nearest_rank(ordered: list[tuple[int, int]], count: int, q: float) -> float:
    below, rank = 0, max(1, -int(-q * count // 1))
    for tenths, n in ordered:
        below += n
        if below >= rank:
            return tenths / 10
    return ordered[-1][0] / 10
