"""Monthly cost on Google Cloud at a load, beside one virtual machine: ``make cost``, the table of docs/cost.md.

Prices and assumptions come from infra/prices.yaml, measured numbers from benchmarks/measured.yaml, the deployment from
infra/functions.yaml and infra/schedules.yaml. Amounts are US dollars a month; loads are means over the month.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infra.price_list import Machine, PriceList

from marquee.cli.argument_types import bounded_float
from marquee.cli.text_table import markdown_table, short_number
from marquee.config.settings import Settings
from marquee.config.yaml_file import read_yaml
from marquee.local.infra_spec import FunctionSpec, ScheduleSpec, read_functions, read_schedules

ROOT = Path(__file__).parents[1]
MONTH_H = 730.0
MONTH_S = MONTH_H * 3_600
GIB = 2.0**30
STEP_S = 0.1
NAT_MAX_INSTANCES = 32
MAX_LOAD_FACTOR = 1_000.0
HEADER = ("part", "use in a month", "serverless", "one machine")

Flow = tuple[float, float, float]  # requests per second, wall seconds, processor seconds


@dataclass(frozen=True, slots=True)
class Load:
    """Records of the event log and requests for recommendations, per second."""

    records_per_s: float
    requests_per_s: float

    def scaled(self, factor: float) -> Load:
        """Return the same mixture at ``factor`` times the load."""
        return Load(self.records_per_s * factor, self.requests_per_s * factor)


# 94,800 users who watch at once, each with a record a minute.
DESIGN_LOAD = Load(1_580, 12)


@dataclass(frozen=True, slots=True)
class Charge:
    """The price of one part's use of one resource; ``resource`` is a key of :attr:`PriceList.prices`."""

    part: str
    resource: str
    quantity: float
    unit: str
    usd: float


def billed_instances(flows: Sequence[Flow], function: FunctionSpec, busy_fraction: float) -> float:
    """Return the mean number of billed instances.

    At low load one instance is billed while any request is under way, in steps of 100 ms: 1 - exp(-rate * seconds) of
    the time for Poisson arrivals (M/G/inf queue). At high load, instances are added when processors or concurrency are
    filled to ``busy_fraction``.
    """
    billed_s = sum(rate * math.ceil(round(wall_s / STEP_S, 9)) * STEP_S for rate, wall_s, _ in flows)
    by_processor = sum(rate * cpu_s for rate, _, cpu_s in flows) / function.limits.cpu
    by_concurrency = sum(rate * wall_s for rate, wall_s, _ in flows) / (function.workers * function.threads)
    return max(-math.expm1(-billed_s), max(by_processor, by_concurrency) / busy_fraction)


@dataclass(frozen=True, slots=True)
class CostModel:
    """Cost of the deployment that ``infra/`` describes; ``inputs`` are the assumptions and measured numbers.

    With ``on_spark``, both schedules of the retraining start a batch of Dataproc Serverless (docs/spark.md).
    """

    price_list: PriceList
    inputs: Mapping[str, float]
    functions: Mapping[str, FunctionSpec]
    schedules: Mapping[str, ScheduleSpec]
    on_spark: bool = False

    def traffic(self, load: Load) -> dict[str, tuple[float, float]]:
        """Return requests per second and billed instances of the functions that the load reaches."""
        x, busy = self.inputs, self.inputs["busy_fraction"]
        answers = (load.requests_per_s, x["answer_s"], x["recommend_ms_per_answer"] / 1e3)
        recommend = billed_instances([answers], self.functions["recommend"], busy)
        senders, records = max(1.0, recommend), load.records_per_s / x["partitions"]
        impressions = senders * _collected(load.requests_per_s / senders, x["impressions_wait_s"])
        # A partition's StreamBatch is sent when it is full or `batch_s` old.
        batches = x["partitions"] * max(_collected(records, x["batch_s"]), records / x["batch_records"])
        cpu_s = load.records_per_s * x["ingest_us_per_record"] / 1e6 / batches if batches else 0.0
        writes = [(batches, x["write_s"] + cpu_s, cpu_s), (impressions, x["write_s"], 0.0)]
        ingest = billed_instances(writes, self.functions["ingest"], busy)
        return {
            "ingest": (batches + impressions, ingest),
            "recommend": (load.requests_per_s, recommend),
            "events": self._flow("events", load.requests_per_s * x["event_batches_per_list"], x["write_s"]),
            "app": self._flow("app", load.requests_per_s * x["app_share"] * x["app_requests_per_list"], x["page_s"]),
        }

    def _flow(self, name: str, per_s: float, wall_s: float) -> tuple[float, float]:
        """Return requests per second and billed instances of a function with one kind of request."""
        cpu_s = self.inputs[f"{name}_ms_per_request"] / 1e3
        flow = (per_s, wall_s, cpu_s)
        return per_s, billed_instances([flow], self.functions[name], self.inputs["busy_fraction"])

    def serverless(self, load: Load) -> list[Charge]:
        """Return the charges of the serverless deployment."""
        return self._charges(self._serverless_use(load))

    def one_machine(self, load: Load) -> list[Charge]:
        """Return the charges of one machine, or of several of the largest if one is too small."""
        machine, count = self.smallest_machine(load)
        disk_gib, hours = self.inputs["disk_gib"], count * MONTH_H
        uses = [("machine", "disk_gib_month", disk_gib), ("network", "machine_address_h", MONTH_H)]
        own = Charge("machine", machine.name, hours, "h", hours * machine.usd_per_hour)
        return [*self._charges([*uses, *self._common_use(load)]), own]

    def smallest_machine(self, load: Load) -> tuple[Machine, int]:
        """Return the smallest machine that holds the load and the largest job, and how many of them."""
        x = self.inputs
        cpu_s = load.records_per_s * (x["bridge_us_per_record"] + x["ingest_us_per_record"]) / 1e6
        cpu_s += load.requests_per_s * x["recommend_ms_per_answer"] / 1e3
        traffic = self.traffic(load)
        cpu_s += sum(traffic[name][0] * x[f"{name}_ms_per_request"] / 1e3 for name in ("events", "app"))
        vcpu = cpu_s / x["busy_fraction"]
        functions_gib = sum(self.functions[name].limits.memory_gib for name in traffic)
        job_gib = max((schedule.limits.memory_gib for schedule in self.schedules.values()), default=0.0)
        memory_gib = x["system_gib"] + x["bridge_memory_gib"] + functions_gib + job_gib
        machines = self.price_list.machines
        fitting = (m for m in machines if m.vcpu >= vcpu and m.memory_gib >= memory_gib)
        machine = next(fitting, machines[-1])
        return machine, math.ceil(max(1, vcpu / machine.vcpu, memory_gib / machine.memory_gib))

    def break_even(self, load: Load) -> Load | None:
        """Return the load of this mixture above which one machine is cheaper; None up to a thousand times the load."""

        def machine_is_cheaper(factor: float) -> bool:
            scaled = load.scaled(factor)
            serverless, one_machine = self.serverless(scaled), self.one_machine(scaled)
            return sum(c.usd for c in serverless) > sum(c.usd for c in one_machine)

        low, high = 0.0, MAX_LOAD_FACTOR
        if machine_is_cheaper(low):
            return load.scaled(0)
        if not machine_is_cheaper(high):
            return None
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if machine_is_cheaper(middle) else (middle, high)
        return load.scaled(high)

    def _serverless_use(self, load: Load) -> Iterator[tuple[str, str, float]]:
        x, traffic = self.inputs, self.traffic(load)
        for name, (per_s, instances) in traffic.items():
            yield name, "requests", per_s * MONTH_S
            yield name, "request_vcpu_s", instances * MONTH_S * self.functions[name].limits.cpu
            yield name, "request_gib_s", instances * MONTH_S * self.functions[name].limits.memory_gib
        yield "bridge", "worker_vcpu_s", x["bridges"] * MONTH_S
        yield "bridge", "worker_gib_s", x["bridges"] * x["bridge_memory_gib"] * MONTH_S
        yield from self._job_use()
        impressions = load.requests_per_s * x["bytes_per_impression"]
        published = load.records_per_s * x["batch_bytes_per_record"] + impressions
        yield "Pub/Sub", "pubsub_gib", 2 * published * MONTH_S / GIB
        yield "Pub/Sub", "pubsub_retained_gib_month", published * x["retention_days"] * 86_400 / GIB
        reads_per_s = load.requests_per_s * x["reads_per_answer"]
        release_checks_per_s = traffic["recommend"][1] / Settings().release_refresh_s
        yield "objects", "object_reads", (reads_per_s + release_checks_per_s) * MONTH_S
        database_gib, _ = self._egress_gib(load)
        instances = x["bridges"] + sum(billed for _, billed in traffic.values())
        yield "network", "nat_vm_h", min(NAT_MAX_INSTANCES, instances) * MONTH_H
        kafka_gib = load.records_per_s * x["kafka_bytes_per_record"] * MONTH_S / GIB
        yield "network", "nat_gib", database_gib + kafka_gib
        yield "network", "address_h", MONTH_H
        requests_per_s = sum(per_s for per_s, _ in traffic.values())
        yield "logs", "logs_gib", requests_per_s * x["request_log_bytes"] * MONTH_S / GIB
        yield "images", "images_gib_month", x["images_gib"]
        yield from self._common_use(load)

    def _common_use(self, load: Load) -> Iterator[tuple[str, str, float]]:
        x = self.inputs
        yield "network", "egress_gib", sum(self._egress_gib(load))
        yield "objects", "stored_gib_month", x["artifacts_gib"]
        yield "objects", "object_writes", x["objects_per_release"] * MONTH_H / 24
        stored = load.records_per_s * x["stored_bytes_per_record"] * x["retention_days"] * 86_400 / GIB
        yield "Timescale Cloud", "timescale_h", MONTH_H
        yield "Timescale Cloud", "timescale_gib_month", stored
        yield "Grafana Cloud", "grafana_users", x["grafana_users"]

    def _job_use(self) -> Iterator[tuple[str, str, float]]:
        for name, schedule in self.schedules.items():
            runs = self.price_list.runs[name]["per_day"] * MONTH_H / 24
            seconds = runs * self.price_list.runs[name]["seconds"]
            if self.on_spark and schedule.part == "retrain":
                yield "jobs", "dcu_h", seconds / 3_600 * self._data_compute_units()
                yield "jobs", "shuffle_gib_month", seconds / MONTH_S * self.inputs["spark_shuffle_gib"]
                continue
            function = self.functions[schedule.function] if schedule.function else None
            kind, limits = ("request", function.limits) if function else ("job", schedule.limits)
            yield "jobs", f"{kind}_vcpu_s", seconds * limits.cpu
            yield "jobs", f"{kind}_gib_s", seconds * limits.memory_gib
            yield "jobs", "requests", runs if function else 0.0
        yield "jobs", "schedules", len(self.schedules)

    def _data_compute_units(self) -> float:
        """Return the Data Compute Units of a batch: 0.6 a processor, 0.1 a GB up to 8 GB a processor, 0.2 above."""
        x = self.inputs
        gib = [x["spark_driver_gib"], *[x["spark_executor_gib"]] * int(x["spark_executors"])]
        gib, vcpu = [own * x["spark_memory_factor"] for own in gib], x["spark_vcpu"]
        return sum(0.6 * vcpu + 0.1 * (own + max(0.0, own - 8 * vcpu)) for own in gib)

    def _egress_gib(self, load: Load) -> tuple[float, float]:
        """Return the GiB a month sent to the database and to the callers."""
        x, answers = self.inputs, load.requests_per_s * self.inputs["bytes_per_answer"]
        pages = load.requests_per_s * x["app_share"] * x["app_requests_per_list"] * x["bytes_per_page"]
        impressions = load.requests_per_s * x["bytes_per_impression"]
        rows = load.records_per_s * x["database_bytes_per_record"] + impressions
        return (rows + answers) * MONTH_S / GIB, (answers + pages) * MONTH_S / GIB

    def _charges(self, uses: Iterable[tuple[str, str, float]]) -> list[Charge]:
        """Price the uses; parts share a resource's free units in proportion to their use."""
        listed, totals, prices = list(uses), defaultdict[str, float](float), self.price_list.prices
        for _, name, used in listed:
            totals[name] += used
        rates = {name: prices[name].amount(used) / (used or 1.0) for name, used in totals.items()}
        return [Charge(part, name, q, prices[name].unit, q * rates[name]) for part, name, q in listed]


def read_model() -> CostModel:
    """Return the model of this repository; raises :class:`SettingsError` that names file and field."""
    price_list = read_yaml(ROOT / "infra/prices.yaml", PriceList)
    measured = read_yaml(ROOT / "benchmarks/measured.yaml", dict[str, float])
    inputs = {**price_list.assumptions, **measured}
    return CostModel(price_list, inputs, read_functions(ROOT), read_schedules(ROOT))


def table(model: CostModel, load: Load) -> str:
    """Return the Markdown table of both deployments with the break-even load."""
    columns = model.serverless(load), model.one_machine(load)
    rows: list[tuple[str, ...]] = []
    for part in dict.fromkeys(charge.part for charges in columns for charge in charges):
        used, *others = ([charge for charge in charges if charge.part == part] for charges in columns)
        rows.append((part, _use(used or others[0]), _usd(used), _usd(others[0])))
    rows.append(("all", "", *map(_usd, columns)))
    idle = load.scaled(0)
    rows.append(("all, without load", "", _usd(model.serverless(idle)), _usd(model.one_machine(idle))))
    spark = [charge for charge in replace(model, on_spark=True).serverless(load) if charge.part == "jobs"]
    rows.append(("jobs, if retraining runs on Spark", _use(spark), _usd(spark), ""))
    at = f"{load.records_per_s:g} records/s and {load.requests_per_s:g} requests/s"
    price_list, even = model.price_list, model.break_even(load)
    note = f"US dollars a month in {price_list.region} at {at}, by list prices of {price_list.date}."
    above = even and f"{even.records_per_s:.0f} records/s and {even.requests_per_s:.1f} requests/s"
    cheaper = f"above {above}" if above else "at no load"
    shown = markdown_table(HEADER, rows, right=HEADER[2:])
    return f"{shown}\n\n{note}\nOf this mixture, one machine is cheaper {cheaper}."


def _use(charges: Sequence[Charge]) -> str:
    quantities: dict[str, float] = defaultdict(float)
    for charge in charges:
        quantities[charge.unit] += charge.quantity
    return ", ".join(f"{short_number(quantity)} {unit}" for unit, quantity in quantities.items() if quantity)


def _usd(charges: Sequence[Charge]) -> str:
    return f"{sum(charge.usd for charge in charges):,.2f}" if charges else ""


def _collected(per_s: float, wait_s: float) -> float:
    """Return the batches per second when a random arrival opens one and those of the next ``wait_s`` join it."""
    return per_s / (1 + per_s * wait_s)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the monthly cost at a load."""
    parser = argparse.ArgumentParser(prog="python -m infra.cost", description=main.__doc__)
    parser.add_argument(
        "--records-per-s", type=bounded_float(0, 1e7), default=DESIGN_LOAD.records_per_s, help="%(default)s"
    )
    parser.add_argument(
        "--requests-per-s", type=bounded_float(0, 1e7), default=DESIGN_LOAD.requests_per_s, help="%(default)s"
    )
    args = parser.parse_args(arguments)
    print(table(read_model(), Load(args.records_per_s, args.requests_per_s)))


if __name__ == "__main__":
    main()
