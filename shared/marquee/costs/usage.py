"""How much of each resource a load uses in a month, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from marquee.costs.instances import Flow, billed_instances
from marquee.costs.load import (
    GIB,
    MONTH_H,
    MONTH_S,
    Function,
    Load,
    System,
    Work,
    batches_per_second,
    impression_batches_per_second,
)

NAT_INSTANCES = 32
"""Beyond so many, Cloud NAT takes no more for each."""


@dataclass(frozen=True, slots=True)
class Use:
    """``quantity`` units a month of one resource, a field of :class:`~marquee.costs.prices.Prices`' tables."""

    part: str
    resource: str
    quantity: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a load means for the functions: requests a second, and instances that are billed on the average."""

    batches: float
    impression_batches: float
    ingest: float
    recommend: float


def traffic(load: Load, work: Work, system: System) -> Traffic:
    """Requests and instances of the two functions."""
    asked = Flow(load.requests_per_second, work.answer_s, work.recommend_ms / 1e3)
    recommend = _instances([asked], system.recommend, system)
    batches = batches_per_second(load.lines_per_second, system)
    lists = impression_batches_per_second(load.requests_per_second, recommend, system)
    cpu_s = load.lines_per_second * work.ingest_us_per_line / 1e6 / batches if batches else 0.0
    written = [Flow(batches, work.write_s + cpu_s, cpu_s), Flow(lists, work.write_s, 0.0)]
    return Traffic(batches, lists, _instances(written, system.ingest, system), recommend)


def uses(load: Load, work: Work, system: System) -> list[Use]:
    """Everything on Google Cloud, and the options beside it."""
    of = traffic(load, work, system)
    return [
        *_function("ingest", of.batches + of.impression_batches, of.ingest, system.ingest),
        *_function("recommend", load.requests_per_second, of.recommend, system.recommend),
        *_bridge(system),
        *_clock(system),
        *_pubsub(load, work),
        *_objects(load, of, work, system),
        *_network(load, of, work, system),
        Use("logs", "logs_gib", _month_gib(_logged(load, of, work))),
        Use("images and secrets", "images_gib_month", system.images_gib),
        Use("images and secrets", "secrets", system.secrets),
        *options(load, work, system),
    ]


def options(load: Load, work: Work, system: System) -> list[Use]:
    """The database and the dashboards, at those who run them for others."""
    kept = load.lines_per_second * work.stored_bytes_per_line * work.kept_days * 86_400 / GIB
    return [
        Use("Timescale Cloud", "timescale_h", MONTH_H),
        Use("Timescale Cloud", "timescale_gib_month", kept),
        Use("Grafana Cloud", "grafana_users", system.grafana_users),
    ]


def egress_gib(load: Load, work: Work) -> tuple[float, float]:
    """GiB a month that leave for the database, and for the callers."""
    written = load.lines_per_second * work.row_bytes + load.requests_per_second * work.impression_bytes
    asked = load.requests_per_second * work.answer_bytes
    return _month_gib(written + asked), _month_gib(asked)


def _instances(flows: Sequence[Flow], function: Function, system: System) -> float:
    return billed_instances(
        flows, concurrency=function.concurrency, vcpu=function.vcpu, busy_share=system.busy_share
    )


def _function(part: str, per_second: float, instances: float, function: Function) -> Iterator[Use]:
    yield Use(part, "requests", per_second * MONTH_S)
    yield Use(part, "request_vcpu_s", instances * function.vcpu * MONTH_S)
    yield Use(part, "request_gib_s", instances * function.memory_gib * MONTH_S)


def _bridge(system: System) -> Iterator[Use]:
    yield Use("bridge", "worker_vcpu_s", system.bridges * MONTH_S)
    yield Use("bridge", "worker_gib_s", system.bridges * system.bridge_memory_gib * MONTH_S)


def _clock(system: System) -> Iterator[Use]:
    for job in system.jobs.values():
        runs = job.runs_per_day * MONTH_H / 24
        kind = "request" if job.by_request else "job"
        yield Use("jobs", f"{kind}_vcpu_s", runs * job.seconds * job.vcpu)
        yield Use("jobs", f"{kind}_gib_s", runs * job.seconds * job.memory_gib)
        if job.by_request:
            yield Use("jobs", "requests", runs)
    yield Use("jobs", "schedules", len(system.jobs))


def _pubsub(load: Load, work: Work) -> Iterator[Use]:
    published = load.lines_per_second * work.line_bytes + load.requests_per_second * work.impression_bytes
    yield Use("Pub/Sub", "pubsub_gib", 2 * _month_gib(published))
    yield Use("Pub/Sub", "pubsub_kept_gib_month", published * work.kept_days * 86_400 / GIB)


def _objects(load: Load, of: Traffic, work: Work, system: System) -> Iterator[Use]:
    yield Use("objects", "stored_gib_month", system.artifacts_gib)
    looks = of.recommend / system.refresh_s
    yield Use("objects", "object_reads", (load.requests_per_second * work.user_reads + looks) * MONTH_S)
    yield Use("objects", "object_writes", 20 * MONTH_H / 24)  # A release a night, of some twenty objects.


def _network(load: Load, of: Traffic, work: Work, system: System) -> Iterator[Use]:
    database, callers = egress_gib(load, work)
    kafka = _month_gib(load.lines_per_second * work.kafka_bytes)
    instances = min(NAT_INSTANCES, system.bridges + of.ingest + of.recommend)
    yield Use("network", "nat_vm_h", instances * MONTH_H)
    yield Use("network", "nat_gib", database + kafka)
    yield Use("network", "address_h", MONTH_H)
    yield Use("network", "egress_gib", database + callers)


def _logged(load: Load, of: Traffic, work: Work) -> float:
    """Bytes a second."""
    return (of.batches + of.impression_batches + load.requests_per_second) * work.request_log_bytes


def _month_gib(bytes_per_second: float) -> float:
    return bytes_per_second * MONTH_S / GIB
