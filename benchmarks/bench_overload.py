"""Goodput at twice the capacity of one instance, with and without the load balancer."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.balancer import find_haproxy, run_balancer
from benchmarks.load import load
from benchmarks.open_load import open_load
from benchmarks.registry import BenchmarkResult, at_least, benchmark
from benchmarks.serving import Instance, run_recommend, store

USERS = 1_000
ROUNDS, ROUND_S = 9, 1.5
# The number of concurrent requests that the balancer sends to one instance.
CONNECTIONS = 7


def _user_path(number: int) -> str:
    return f"/recommend/{number * 7919 % USERS}"


@benchmark("overload_goodput", "overload_goodput_direct")
def overload() -> Iterable[BenchmarkResult]:
    """Send twice the requests that one instance can answer, at a steady rate; count the answers within 600 ms."""
    objects = store(USERS, 32)
    with _first_processor() as leave_it, run_recommend(objects) as instance:
        leave_it()
        instance.first_answer_ms("/recommend/1")
        if find_haproxy():  # The goal is defined behind the load balancer.
            with run_balancer(instance) as port:
                yield _measure_overload("overload_goodput", instance, port, "behind the load balancer of Compose")
        yield _measure_overload("overload_goodput_direct", instance, instance.port, "without a load balancer")


@contextmanager
def _first_processor() -> Iterator[Callable[[], None]]:
    """Run on the first processor, where what is started stays, until the yielded function leaves it to that.

    At twice the capacity the client and the balancer work twice as much as at capacity. On a shared processor they
    would take their time from the instance, which on a real deployment has its own.
    """
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, processors[:1])
    try:
        yield lambda: os.sched_setaffinity(0, processors[1:] or processors)
    finally:
        os.sched_setaffinity(0, processors)


def _measure_overload(name: str, instance: Instance, port: int, where: str) -> BenchmarkResult:
    """Compare rounds at twice the capacity with the rounds at capacity before and after each."""
    before, ratios, per_cpu, rates = _measure_capacity(instance, port), [], [], []
    for _ in range(ROUNDS):
        cpu = instance.processor_ms()
        answers = open_load(port, _user_path, rate=2 * before.per_s, seconds=ROUND_S).in_time
        cpu = instance.processor_ms() - cpu
        after = _measure_capacity(instance, port)
        rates.append((before.per_s + after.per_s) / 2)
        ratios.append(answers / ROUND_S / rates[-1])
        per_cpu.append(answers / cpu / ((before.per_cpu_ms + after.per_cpu_ms) / 2))
        before = after
    low, goodput, high = statistics.quantiles(ratios, n=4)
    reference = (
        f"{where}: answers within 600 ms at twice the capacity of {statistics.median(rates):.0f} requests/s, as a "
        f"fraction of it; per processor second of the instance {statistics.median(per_cpu):.2f}. The instance has a "
        "processor of its own, client and balancer share the others"
    )
    goal = 0.9 if name == "overload_goodput" else 0.5
    return at_least(name, goodput, "ratio", goal, reference=reference, interval=(low, high))


class _Capacity(NamedTuple):
    """Answers per second, and answers per millisecond of the instance's processor time."""

    per_s: float
    per_cpu_ms: float


def _measure_capacity(instance: Instance, port: int) -> _Capacity:
    cpu = instance.processor_ms()
    result = load(port, _user_path, connections=CONNECTIONS, seconds=ROUND_S)
    answers = len(result.ms) - result.failed
    return _Capacity(answers / result.seconds, answers / (instance.processor_ms() - cpu))
