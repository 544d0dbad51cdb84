"""The same on one virtual machine that is always on: the smallest that the load and a retraining fit into.

One machine has no second one: when it is away, all is. The database and the dashboards stay with those who run them.
"""

from __future__ import annotations

from marquee.costs.load import MONTH_H, Load, System, Work
from marquee.costs.prices import Machine, Prices
from marquee.costs.usage import Use, egress_gib, options

DISK_GIB = 50.0
SYSTEM_GIB = 1.0


def uses(load: Load, work: Work, system: System) -> list[Use]:
    """All but the machine itself. Functions, bridge and jobs talk by HTTP, and write their logs to its disk."""
    database, callers = egress_gib(load, work)
    return [
        Use("machine", "disk_gib_month", DISK_GIB),
        Use("objects", "stored_gib_month", system.artifacts_gib),
        Use("objects", "object_writes", 20 * MONTH_H / 24),
        Use("network", "machine_address_h", MONTH_H),
        Use("network", "egress_gib", database + callers),
        *options(load, work, system),
    ]


def fitting(load: Load, work: Work, system: System, prices: Prices) -> tuple[Machine, int]:
    """The machine, and how many of them: more than one only if the largest is too small."""
    vcpu, memory_gib = needed(load, work, system)
    for machine in prices.machines:
        if machine.vcpu >= vcpu and machine.memory_gib >= memory_gib:
            return machine, 1
    largest = prices.machines[-1]
    return largest, -int(-max(vcpu / largest.vcpu, memory_gib / largest.memory_gib) // 1)


def needed(load: Load, work: Work, system: System) -> tuple[float, float]:
    """Processors, filled as far as Cloud Run fills them, and GiB with the largest job running."""
    lines_s = load.lines_per_second * (work.bridge_us_per_line + work.ingest_us_per_line) / 1e6
    busy = lines_s + load.requests_per_second * work.recommend_ms / 1e3
    job = max((job.memory_gib for job in system.jobs.values()), default=0.0)
    parts = system.bridge_memory_gib + system.ingest.memory_gib + system.recommend.memory_gib
    return busy / system.busy_share, SYSTEM_GIB + parts + job
