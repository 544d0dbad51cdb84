"""Request metrics of one process in the Prometheus text format.

Written by hand, because importing prometheus_client adds 8 % to the start of an empty function.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from marquee.serving.answer import Answer

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.6, 1.0, 2.5)
"""Upper bounds of the histogram's buckets; the streaming service gives up after 0.6 s."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "marquee_recommend_"

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and a latency histogram of requests. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: Counter[int] = Counter()
        self._answers: Counter[tuple[str, str, str]] = Counter()
        self._notes: Counter[str] = Counter()
        self._steps: Counter[str] = Counter()
        self._buckets = [0] * (len(BOUNDS_S) + 1)
        self._seconds = 0.0
        self._explored = 0

    def record(self, status: int, seconds: float, answer: Answer | None) -> None:
        """Count one request to ``/recommend/...`` that took ``seconds``."""
        with self._lock:
            self._statuses[status] += 1
            self._buckets[bisect_left(BOUNDS_S, seconds)] += 1
            self._seconds += seconds
            if answer is not None:
                self._answers[answer.tier, answer.arm, answer.version] += 1
                self._explored += answer.explored
                if answer.notes:
                    self._notes.update(answer.notes)
                for step, duration in answer.seconds.items():
                    self._steps[step] += duration  # type: ignore[assignment]  # A Counter adds floats too.

    def format(self, gauges: Mapping[str, float], counters: Mapping[str, float]) -> bytes:
        """Return all metrics as text, with ``gauges`` and ``counters`` of other parts by name."""
        with self._lock:
            lines = [*self._format_counters(), *self._format_histogram()]
        for kind, values in (("gauge", gauges), ("counter", counters)):
            for name, value in values.items():
                lines += _format_family(name, kind, [((), value)])
        return "".join(f"{line}\n" for line in lines).encode()

    def _format_counters(self) -> Iterator[str]:
        by_status = [((("status", str(s)),), n) for s, n in self._statuses.items()]
        yield from _format_family("requests_total", "counter", by_status)
        names = ("tier", "arm", "model_version")
        answers = [(tuple(zip(names, key, strict=True)), n) for key, n in self._answers.items()]
        yield from _format_family("answers_total", "counter", answers)
        yield from _format_family("explored_total", "counter", [((), self._explored)])
        notes = [((("note", note),), n) for note, n in self._notes.items()]
        yield from _format_family("notes_total", "counter", notes)
        steps = [((("step", step),), duration) for step, duration in self._steps.items()]
        yield from _format_family("step_seconds_total", "counter", steps)

    def _format_histogram(self) -> Iterator[str]:
        bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
        rows = zip(bounds, accumulate(self._buckets), strict=True)
        yield from _format_family("seconds", "histogram", [((("le", le),), n) for le, n in rows], "_bucket")
        yield f"{_PREFIX}seconds_sum {self._seconds:.6f}"
        yield f"{_PREFIX}seconds_count {sum(self._buckets)}"


def _format_family(name: str, kind: str, rows: Iterable[tuple[Labels, float]], suffix: str = "") -> Iterator[str]:
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in rows:
        pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels)
        yield f"{_PREFIX}{name}{suffix}{{{pairs}}} {value:.12g}" if pairs else f"{_PREFIX}{name} {value:.12g}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
