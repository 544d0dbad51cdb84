"""Answers known by construction, and what must hold of every bill."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.costs.bill import Bill, functions_bill, machine_bill, price_table
from marquee.costs.comparison import break_even, compare
from marquee.costs.instances import Flow, billed_instances
from marquee.costs.load import GIB, MONTH_S, Load, System, Work, batches_per_second
from marquee.costs.machine import fitting
from marquee.costs.prices import Price, Prices, read_prices
from marquee.costs.usage import traffic, uses

PRICES, WORK, SYSTEM = read_prices(), Work(), System()
lines = st.floats(0, 1e6)
requests = st.floats(0, 1e5)


def functions(load: Load, work: Work = WORK, system: System = SYSTEM) -> Bill:
    return functions_bill(load, PRICES, work, system)


def machine(load: Load) -> Bill:
    return machine_bill(load, PRICES, WORK, SYSTEM)


def test_a_bill_by_hand() -> None:
    """1,000 lines and 10 requests a second, every figure computed here from the prices alone."""
    work = Work(line_bytes=100, impression_bytes=2_000, kept_days=1, request_log_bytes=1_000)
    system = replace(SYSTEM, partitions=1, batch_s=1.0, jobs={}, impressions_s=1.0)
    bill = functions(Load(1_000, 10), work, system)
    batches, lists = 1_000 / 1_001, 10 / 11
    # One instance busy while any request of 0.1 s is under way; of e, to ten digits.
    recommend_s = (1 - 2.718281828459045 ** (-10 * 0.1)) * 2_628_000
    ingest_s = (1 - 2.718281828459045 ** (-(batches + lists) * 0.1)) * 2_628_000
    vcpu_usd = (recommend_s + ingest_s - 180_000) * 24e-6
    gib_usd = ((recommend_s + ingest_s) / 2 - 360_000) * 2.5e-6
    asked = (10 + batches + lists) * 2_628_000
    assert bill.parts["recommend"] + bill.parts["ingest"] == pytest.approx(
        vcpu_usd + gib_usd + (asked - 2e6) * 0.4e-6
    )
    published = (1_000 * 100 + 10 * 2_000) * 2_628_000 / GIB
    kept = 120_000 * 86_400 / GIB
    assert bill.parts["Pub/Sub"] == pytest.approx((2 * published - 10) * 40 / 1024 + kept * 0.27)
    assert bill.parts["bridge"] == pytest.approx(2_628_000 * (11.244e-6 + 0.5 * 1.235e-6))
    logged = asked * 1_000 / GIB
    assert bill.parts["logs"] == pytest.approx(max(0, logged - 50) * 0.5)


def test_the_free_quantity_is_taken_off_once_for_all_parts() -> None:
    """Both functions together: each bears its share of what is left."""
    bill = functions(Load(1_580, 12))
    requests = [c for c in bill.charges if c.price.unit == "requests"]
    together = sum(charge.quantity for charge in requests)
    assert sum(charge.usd for charge in requests) == pytest.approx((together - 2e6) * 0.4e-6)
    assert len({round(charge.usd / charge.quantity, 15) for charge in requests}) == 1


@given(st.floats(0, 1e9))
def test_nothing_is_paid_within_the_free_quantity(quantity: float) -> None:
    price = Price(usd=3.0, per=10.0, free=1_000.0, unit="u", text="t")
    assert price.of(quantity) == (0 if quantity <= 1_000 else pytest.approx((quantity - 1_000) * 0.3))


STILL = {"bridge", "jobs", "objects", "network", "images and secrets", "Timescale Cloud", "Grafana Cloud"}


def test_no_load_costs_only_what_stands_still() -> None:
    """No function, no message, no byte that leaves, no log; and of the network the gateway and its address."""
    bill = functions(Load(0, 0))
    assert {part for part, usd in bill.parts.items() if usd} <= STILL
    moving = {"requests", "request_vcpu_s", "pubsub_gib", "egress_gib", "nat_gib", "logs_gib", "object_reads"}
    used = {use.resource: use.quantity for use in uses(Load(0, 0), WORK, replace(SYSTEM, jobs={}))}
    assert {used[name] for name in moving} == {0}
    assert bill.parts["network"] == pytest.approx(730 * (0.0014 + 0.005))


def test_without_a_bridge_next_to_nothing_stands() -> None:
    """Scaled to zero: less than ten dollars on Google Cloud."""
    bill = functions(Load(0, 0), system=replace(SYSTEM, bridges=0))
    assert bill.total - bill.parts["Timescale Cloud"] < 10


@given(lines, requests, st.floats(1, 10))
def test_more_load_never_costs_less(lines: float, requests: float, factor: float) -> None:
    """On either side, whichever of the two grows."""
    for bill in (functions, machine):
        here = bill(Load(lines, requests)).total
        assert bill(Load(lines * factor, requests)).total >= here - 1e-9
        assert bill(Load(lines, requests * factor)).total >= here - 1e-9


@given(lines, requests)
def test_every_charge_is_of_a_known_price_and_not_negative(lines: float, requests: float) -> None:
    """And the parts add up to the total."""
    bill = functions(Load(lines, requests))
    assert all(charge.usd >= 0 and charge.quantity >= 0 for charge in bill.charges)
    assert sum(bill.parts.values()) == pytest.approx(bill.total)
    assert {charge.price for charge in bill.charges} <= set(price_table(PRICES).values())


@given(lines)
def test_batches_are_as_many_as_the_bridge_makes(lines: float) -> None:
    """A line alone travels alone; many fill four batches a second and partition; none is beyond its most lines."""
    each = batches_per_second(lines, SYSTEM)
    assert each <= lines + 1e-9
    assert each * SYSTEM.batch_lines >= lines - 1e-6
    assert each <= max(SYSTEM.partitions / SYSTEM.batch_s, lines / SYSTEM.batch_lines) + 1e-9


def instances(flow: Flow, busy_share: float) -> float:
    return billed_instances([flow], concurrency=8, vcpu=1.0, busy_share=busy_share)


def test_one_instance_is_billed_for_as_long_as_anything_is_under_way() -> None:
    """Seldom: each request alone, rounded up to 100 ms. Often: all the time, and no second instance for it."""
    assert instances(Flow(0.001, 0.03, 0), 0.6) == pytest.approx(0.0001, rel=1e-3)
    assert instances(Flow(0.001, 0.1, 0), 0.6) == pytest.approx(0.0001, rel=1e-3)
    assert instances(Flow(40, 0.05, 0.001), 0.6) == pytest.approx(1, rel=0.02)


def test_many_requests_need_many_instances() -> None:
    """By processors, or by places, whichever is less."""
    assert instances(Flow(1_000, 0.01, 0.005), 0.5) == pytest.approx(10)
    assert instances(Flow(1_000, 0.04, 0.001), 0.5) == pytest.approx(10)


def test_the_machine_is_the_smallest_that_fits() -> None:
    """By memory at little load, by processors at much, and several where no single one is large enough."""
    small, count = fitting(Load(0, 0), WORK, SYSTEM, PRICES)
    assert (small.name, count) == ("e2-standard-4", 1)
    assert fitting(Load(0, 0), WORK, replace(SYSTEM, jobs={}), PRICES)[0].name == "e2-standard-2"
    # 3,000 answers of 1 ms are three processors, five at 60 %.
    busy = Work(recommend_ms=1)
    assert fitting(Load(0, 3_000), busy, SYSTEM, PRICES)[0].name == "e2-standard-8"
    assert fitting(Load(0, 60_000), busy, SYSTEM, PRICES) == (PRICES.machines[-1], 4)


def test_the_break_even_is_where_both_cost_the_same() -> None:
    """At the design's mixture; below it the functions are cheaper, above it the machine."""
    even = break_even(Load(1_580, 12), PRICES, WORK, SYSTEM)
    assert even is not None
    assert functions(even).total == pytest.approx(machine(even).total, rel=1e-6)
    assert functions(even.times(0.9)).total < machine(even.times(0.9)).total
    assert functions(even.times(1.1)).total > machine(even.times(1.1)).total


def test_a_machine_that_costs_nothing_is_always_cheaper_and_a_dear_one_never() -> None:
    free = replace_machines(1e-9)
    assert break_even(Load(1_580, 12), free, WORK, SYSTEM) == Load(0, 0)
    assert compare(Load(1_580, 12), replace_machines(1e9), WORK, SYSTEM).break_even is None


def replace_machines(usd_per_hour: float) -> Prices:
    machines = tuple(msgspec.structs.replace(m, usd_per_hour=usd_per_hour) for m in PRICES.machines)
    return msgspec.structs.replace(PRICES, machines=machines)


def test_the_traffic_of_the_design() -> None:
    """Eight batches a second from two partitions, two of impressions; neither function needs two instances."""
    of = traffic(Load(1_580, 12), WORK, SYSTEM)
    assert of.batches == pytest.approx(2 * 790 / 198.5)
    assert of.impression_batches == pytest.approx(12 / 7)
    assert 0 < of.ingest < 1
    assert 0 < of.recommend < 1
    assert pytest.approx(730 * 3_600) == MONTH_S
