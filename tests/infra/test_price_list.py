"""Prices and assumptions of the cost model: agreement with the deployment, the settings and real records."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from apscheduler.triggers.cron import CronTrigger
from benchmarks.ingest_path import STREAM_RECORDS_PER_S, log_records
from infra.cost import DESIGN_LOAD
from infra.price_list import PriceList

from infra import cost
from marquee.bridge.bridge_limits import BridgeLimits
from marquee.config.yaml_file import read_yaml
from marquee.errors import SettingsError
from marquee.events.batches import Impression, ImpressionMovie, StreamBatch, make_record
from marquee.events.envelopes import encode_batch
from marquee.local.infra_spec import read_schedules

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "infra/terraform"
MODEL = cost.read_model()


@pytest.mark.parametrize("name", sorted(MODEL.schedules))
def test_price_list_runs_match_schedule(name: str) -> None:
    """The runs a day are those of `cron`; a run fits into its time limit."""
    schedule, runs = read_schedules(ROOT)[name], MODEL.price_list.runs[name]
    trigger, count = CronTrigger.from_crontab(schedule.cron, timezone=UTC), 0
    now = begin = datetime(2026, 3, 2, tzinfo=UTC)
    while (due := trigger.get_next_fire_time(None, now)) and due < begin + timedelta(days=1):
        count, now = count + 1, due + timedelta(seconds=1)
    assert runs["per_day"] == count
    assert runs["seconds"] <= schedule.timeout_s


def terraform_default(variable: str) -> str:
    """Return the default of a Terraform variable."""
    text = (TERRAFORM / "variables.tf").read_text()
    found = re.search(rf'variable "{variable}".*?default\s*= "?([^"\n]+)', text, re.S)
    assert found, variable
    return found[1]


def test_assumptions_match_terraform() -> None:
    """Region, bridges and retention are those of the Terraform configuration."""
    assert MODEL.price_list.region == terraform_default("region")
    assert MODEL.inputs["bridges"] == int(terraform_default("bridges"))
    variables = (TERRAFORM / "variables.tf").read_text()
    for name, attribute in (("spark_executors", "executors"), ("spark_driver_gib", "driver_gb")):
        assert f"{attribute} = optional(number, {MODEL.inputs[name]:g})" in re.sub(" +", " ", variables)
    retention = re.search(r'message_retention_duration = "(\d+)s"', (TERRAFORM / "pubsub.tf").read_text())
    assert retention
    assert MODEL.inputs["retention_days"] * 86_400 == int(retention[1])
    assert {function.instances.min for function in MODEL.functions.values()} == {0}, (
        "idle instances are not in the bill"
    )


def test_assumptions_match_bridge_limits() -> None:
    """Batches are sent when the bridge sends them."""
    limits = (MODEL.inputs["batch_s"], MODEL.inputs["batch_records"])
    assert limits == (BridgeLimits().max_wait_s, BridgeLimits().max_records)


def test_measured_sizes_match_real_records() -> None:
    """Within a tenth: records as the benchmarks write them, impressions of twenty movies."""
    texts = list(log_records(5_000))
    assert DESIGN_LOAD.records_per_s == STREAM_RECORDS_PER_S
    rows = tuple(make_record(123_456_789 + n, 1_700_000_000_000, text) for n, text in enumerate(texts))
    batch = StreamBatch("movielog", "4" * 22, 0, rows)
    size = len(encode_batch(batch).data) / len(texts)
    assert size == pytest.approx(MODEL.inputs["batch_bytes_per_record"], rel=0.1)
    assert sum(map(len, texts)) / len(texts) == pytest.approx(MODEL.inputs["kafka_bytes_per_record"], rel=0.2)
    because = "the+film+number+567+1987"
    movie = ImpressionMovie("the+film+number+1234+1978", 1.2345678, 3.9876543, 0.9123456, 12, because)
    version = "20260214T000921-1a2b3c4d"
    shown = Impression("i" * 36, datetime.now(UTC), "12345", "control", version, 7, "personalised", (movie,) * 20)
    assert len(msgspec.json.encode(shown)) == pytest.approx(MODEL.inputs["bytes_per_impression"], rel=0.1)


def test_price_list_nat_cap_matches_published_maximum() -> None:
    """Cloud NAT charges 0.0014 an hour and instance, at most 0.044: 32 instances within two percent."""
    assert cost.NAT_MAX_INSTANCES * MODEL.price_list.prices["nat_vm_h"].usd == pytest.approx(0.044, rel=0.02)


def test_price_list_date_is_not_in_future() -> None:
    """A price list is dated when it was written."""
    assert MODEL.price_list.date <= date.today()


@pytest.mark.parametrize(
    ("valid", "invalid", "named"),
    [("usd: 24", "usd: -24", "usd"), ("region: us-east4", "", "region"), ("machines:", "m:", "`m`|machines")],
)
def test_price_list_invalid_value_names_field(valid: str, invalid: str, named: str, tmp_path: Path) -> None:
    """The error names the field."""
    path = tmp_path / "prices.yaml"
    path.write_text((ROOT / "infra/prices.yaml").read_text().replace(valid, invalid, 1))
    with pytest.raises(SettingsError, match=named):
        read_yaml(path, PriceList)
