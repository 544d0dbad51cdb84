"""Cost model: known answers, and invariants of every bill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from docs import generate
from hypothesis import given
from hypothesis import strategies as st
from infra.cost import DESIGN_LOAD, GIB, Charge, CostModel, Load, billed_instances
from infra.price_list import Price

from infra import cost

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "infra/terraform"
MODEL = cost.read_model()
NO_LOAD = Load(0, 0)
SPARK_ROW = "jobs, if retraining runs on Spark"
NO_APP: dict[str, float] = {"app_share": 0, "event_batches_per_list": 0}
"""Inputs without requests of `app` and `events`."""
records = st.floats(0, 1e6)
requests = st.floats(0, 1e5)


def model(**inputs: float) -> CostModel:
    """Return the model with other inputs."""
    return replace(MODEL, inputs={**MODEL.inputs, **inputs})


def total(charges: list[Charge]) -> float:
    return sum(charge.usd for charge in charges)


def part(charges: list[Charge], name: str) -> float:
    return total([charge for charge in charges if charge.part == name])


def on_spark(model: CostModel, load: Load) -> list[Charge]:
    return replace(model, on_spark=True).serverless(load)


def with_machine_price(usd_per_hour: float) -> CostModel:
    machines = tuple(msgspec.structs.replace(m, usd_per_hour=usd_per_hour) for m in MODEL.price_list.machines)
    return replace(MODEL, price_list=msgspec.structs.replace(MODEL.price_list, machines=machines))


def test_serverless_known_load_matches_hand_computation() -> None:
    """1,000 records and 10 requests a second, computed here from the prices alone."""
    inputs = {"batch_bytes_per_record": 100, "bytes_per_impression": 2_000, "retention_days": 1}
    waits = {"request_log_bytes": 1_000, "partitions": 1, "batch_s": 1.0, "impressions_wait_s": 1.0}
    bill = replace(model(**inputs, **waits, **NO_APP), schedules={}).serverless(Load(1_000, 10))
    batches, impressions = 1_000 / 1_001, 10 / 11
    recommend_s = (1 - 2.718281828459045 ** (-10 * 0.1)) * 2_628_000
    ingest_s = (1 - 2.718281828459045 ** (-(batches + impressions) * 0.1)) * 2_628_000
    vcpu_usd = (recommend_s + ingest_s - 180_000) * 24e-6
    gib_usd = ((recommend_s + ingest_s) / 2 - 360_000) * 2.5e-6
    requests = (10 + batches + impressions) * 2_628_000
    functions = part(bill, "recommend") + part(bill, "ingest")
    assert functions == pytest.approx(vcpu_usd + gib_usd + (requests - 2e6) * 0.4e-6)
    published = (1_000 * 100 + 10 * 2_000) * 2_628_000 / GIB
    retained = 120_000 * 86_400 / GIB
    assert part(bill, "Pub/Sub") == pytest.approx((2 * published - 10) * 40 / 1024 + retained * 0.27)
    assert part(bill, "bridge") == pytest.approx(2_628_000 * (11.244e-6 + 0.5 * 1.235e-6))
    assert part(bill, "logs") == pytest.approx(max(0, requests * 1_000 / GIB - 50) * 0.5)


def test_app_and_events_are_charged_by_their_requests() -> None:
    """They cost nothing without requests, and add requests, processor time and egress in proportion to the lists."""
    with_both, without = MODEL.serverless(DESIGN_LOAD), model(**NO_APP).serverless(DESIGN_LOAD)
    assert part(without, "app") == part(without, "events") == 0
    assert min(part(with_both, "app"), part(with_both, "events")) > 0
    assert MODEL.traffic(DESIGN_LOAD)["app"][0] == pytest.approx(12 * 0.1 * 10)
    assert part(with_both, "network") > part(without, "network")


def test_serverless_free_units_are_shared_by_all_parts() -> None:
    """The free quantity is subtracted once; each part pays the same rate for the rest."""
    charges = [c for c in MODEL.serverless(DESIGN_LOAD) if c.resource == "requests" and c.quantity]
    used = sum(charge.quantity for charge in charges)
    assert total(charges) == pytest.approx((used - 2e6) * 0.4e-6)
    assert len({round(charge.usd / charge.quantity, 15) for charge in charges}) == 1


@given(st.floats(0, 1e9))
def test_price_within_free_units_is_zero(quantity: float) -> None:
    """Units above the free quantity are charged, units within it are not."""
    price = Price(usd=3.0, per=10.0, free=1_000.0, unit="u")
    assert price.amount(quantity) == (0 if quantity <= 1_000 else pytest.approx((quantity - 1_000) * 0.3))


def test_serverless_without_load_charges_only_fixed_parts() -> None:
    """No function, message, egress or log; the gateway and its address remain of the network."""
    bill = MODEL.serverless(NO_LOAD)
    fixed = {"bridge", "jobs", "objects", "network", "images", "Timescale Cloud", "Grafana Cloud"}
    assert {charge.part for charge in bill if charge.usd} <= fixed
    variable = {
        "requests",
        "request_vcpu_s",
        "pubsub_gib",
        "egress_gib",
        "nat_gib",
        "logs_gib",
        "object_reads",
    }
    used = {c.resource: c.quantity for c in replace(MODEL, schedules={}).serverless(NO_LOAD)}
    assert {used[name] for name in variable} == {0}
    assert part(bill, "network") == pytest.approx(730 * (0.0014 + 0.005))


def test_serverless_without_bridge_or_load_costs_under_ten_dollars() -> None:
    """Scaled to zero, Google Cloud costs less than ten dollars."""
    bill = model(bridges=0).serverless(NO_LOAD)
    assert total(bill) - part(bill, "Timescale Cloud") < 10


@given(records, requests, st.floats(1, 10))
def test_bill_with_more_load_never_decreases(records: float, requests: float, factor: float) -> None:
    """Both deployments, whichever part of the load grows."""
    for bill in (MODEL.serverless, MODEL.one_machine):
        usd = total(bill(Load(records, requests)))
        assert total(bill(Load(records * factor, requests))) >= usd - 1e-9
        assert total(bill(Load(records, requests * factor))) >= usd - 1e-9


@given(records, requests)
def test_charges_of_any_load_are_not_negative(records: float, requests: float) -> None:
    """Quantities and amounts."""
    assert all(c.usd >= 0 and c.quantity >= 0 for c in MODEL.serverless(Load(records, requests)))


@pytest.mark.parametrize("name", sorted(MODEL.inputs))
def test_inputs_each_one_changes_a_bill(name: str) -> None:
    """No assumption or measured number is unused."""
    changed = model(**{name: MODEL.inputs[name] * 50})
    loads = (DESIGN_LOAD, Load(1_000_000, 0), Load(0, 10_000))
    assert any(
        total(bill(changed, load)) != total(bill(MODEL, load))
        or changed.smallest_machine(load) != MODEL.smallest_machine(load)
        for load in loads
        for bill in (CostModel.serverless, CostModel.one_machine, on_spark)
    )


def instances(per_s: float, wall_s: float, cpu_s: float, busy_fraction: float) -> float:
    return billed_instances([(per_s, wall_s, cpu_s)], MODEL.functions["recommend"], busy_fraction)


def test_billed_instances_low_load_bills_busy_time() -> None:
    """Rare requests are rounded up to 100 ms each; frequent ones keep one instance busy."""
    assert instances(0.001, 0.03, 0, 0.6) == pytest.approx(0.0001, rel=1e-3)
    assert instances(0.001, 0.1, 0, 0.6) == pytest.approx(0.0001, rel=1e-3)
    assert instances(40, 0.05, 0.001, 0.6) == pytest.approx(1, rel=0.02)


def test_billed_instances_high_load_bills_scarcer_resource() -> None:
    """Processors or concurrency, whichever is used up first."""
    assert instances(1_000, 0.01, 0.005, 0.5) == pytest.approx(10)
    assert instances(1_000, 0.04, 0.001, 0.5) == pytest.approx(10)


def test_traffic_design_load_needs_less_than_one_instance() -> None:
    """Eight batches a second of two partitions and two of impressions."""
    ingest, recommend = MODEL.traffic(DESIGN_LOAD)["ingest"], MODEL.traffic(DESIGN_LOAD)["recommend"]
    assert ingest[0] == pytest.approx(2 * 790 / 198.5 + 12 / 7)
    assert recommend[0] == 12
    assert 0 < ingest[1] < 1
    assert 0 < recommend[1] < 1


def test_smallest_machine_holds_memory_and_processors() -> None:
    """Memory decides at low load, processors at high load; several machines where the largest is too small."""
    assert [MODEL.smallest_machine(NO_LOAD)[0].name, MODEL.smallest_machine(NO_LOAD)[1]] == [
        "e2-standard-4",
        1,
    ]
    assert replace(MODEL, schedules={}).smallest_machine(NO_LOAD)[0].name == "e2-standard-2"
    busy = model(recommend_ms_per_answer=1, **NO_APP)
    # 3,000 answers of 1 ms use three processors, five at 60 %.
    assert busy.smallest_machine(Load(0, 3_000))[0].name == "e2-standard-8"
    assert busy.smallest_machine(Load(0, 60_000)) == (MODEL.price_list.machines[-1], 4)


def test_break_even_separates_cheaper_deployments() -> None:
    """Both cost the same at the break-even load; serverless is cheaper below it, the machine above it."""
    even = MODEL.break_even(DESIGN_LOAD)
    assert even is not None
    for factor, sign in ((0.9, -1), (1.0, 0), (1.1, 1)):
        load = even.scaled(factor)
        difference = total(MODEL.serverless(load)) - total(MODEL.one_machine(load))
        assert difference == pytest.approx(0, abs=1e-4) if sign == 0 else difference * sign > 0


def test_break_even_extreme_machine_prices_returns_bounds() -> None:
    """A free machine is cheaper at no load; an expensive one never is."""
    assert with_machine_price(1e-9).break_even(DESIGN_LOAD) == NO_LOAD
    assert with_machine_price(1e9).break_even(DESIGN_LOAD) is None


def test_job_charges_of_scheduled_function_are_billed_by_request() -> None:
    """A function that a schedule calls is not billed as a job."""
    only_monitor = replace(MODEL, schedules={"monitor": MODEL.schedules["monitor"]})
    resources = {charge.resource for charge in only_monitor.serverless(NO_LOAD) if charge.part == "jobs"}
    assert resources == {"request_vcpu_s", "request_gib_s", "requests", "schedules"}


def test_spark_batch_is_billed_like_the_published_example() -> None:
    """A driver and two executors of Google's defaults are 12 DCU: a day costs $17.28, and the storage of 25 GiB."""
    schedules, runs = {"retrain": MODEL.schedules["retrain"]}, {"retrain": {"per_day": 1.0, "seconds": 86_400.0}}
    prices = msgspec.structs.replace(MODEL.price_list, runs=runs)
    example = model(spark_executors=2, spark_driver_gib=9.6, spark_memory_factor=16 / 9.6)
    charges = on_spark(replace(example, price_list=prices, schedules=schedules), NO_LOAD)
    usd = {charge.resource: charge.usd / (730 / 24) for charge in charges if charge.part == "jobs"}
    assert usd["dcu_h"] == pytest.approx(12 * 24 * 0.06)
    assert usd["shuffle_gib_month"] == pytest.approx(25 * 0.04 * 24 / 730)
    assert usd.keys() == {"dcu_h", "shuffle_gib_month", "schedules"}, "no Cloud Run job beside the batch"


def test_cost_page_is_current() -> None:
    """`make docs` has been run."""
    assert (ROOT / "docs/cost.md").read_text() == generate.cost_page()


def test_main_prints_parts_for_load(capsys: pytest.CaptureFixture[str]) -> None:
    """Every part, both totals and the load."""
    cost.main(["--records-per-s", "500", "--requests-per-s", "4"])
    shown = capsys.readouterr().out
    assert all(
        f"| {name} |" in shown for name in ("ingest", "recommend", "bridge", "machine", "all, without load", SPARK_ROW)
    )
    assert "500 records/s and 4 requests/s" in shown


@pytest.mark.parametrize("load", ["-1", "many", "nan", "inf"])
def test_main_invalid_load_is_refused(load: str, capsys: pytest.CaptureFixture[Any]) -> None:
    """The message states the valid range."""
    with pytest.raises(SystemExit):
        cost.main(["--records-per-s", load])
    assert "expected a number from 0" in capsys.readouterr().err
