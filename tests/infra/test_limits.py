"""Limits of the deployment: each one leaves room for the limits within it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from docs import generate
from infra.compose.prepare import ACK_DEADLINE_S, subscription
from tests.support.fake_delivery import FakeDelivery

from marquee.bridge.bridge_limits import DEFAULT_LIMITS, BridgeLimits
from marquee.bridge.bridge_stats import BridgeStats
from marquee.bridge.partition_buffer import PartitionBuffer
from marquee.config.settings import Settings
from marquee.local.infra_spec import read_functions, read_schedules

ROOT = Path(__file__).parents[2]
FUNCTIONS = read_functions(ROOT)
PUBSUB_BYTES = 10_000_000
# Pub/Sub counts attributes, ordering key and message id, too.
OVERHEAD_BYTES = 10_000


def test_ack_deadline_exceeds_timeout_of_ingest() -> None:
    """Pub/Sub would deliver again what is being written; it waits for 600 s at most. Terraform adds the same 30 s."""
    assert ACK_DEADLINE_S == FUNCTIONS["ingest"].timeout_s + 30 <= 600
    assert subscription("http://ingest")["ackDeadlineSeconds"] == ACK_DEADLINE_S


def test_delivery_timeout_is_below_timeout_of_ingest() -> None:
    """A delivery over HTTP never leaves a request that goes on unobserved."""
    assert FUNCTIONS["ingest"].timeout_s > DEFAULT_LIMITS.delivery_timeout_s


@pytest.mark.parametrize("record", [b"x" * 120, b"\x00" * 1000, b'"\\' * 500, b"\xff\xfe" * 600, "ü".encode() * 300])
def test_batch_of_any_records_fits_into_pubsub_message(record: bytes) -> None:
    """Escapes and base64 make records longer; even twice the limit of the bridge fits."""
    delivery, limits = FakeDelivery(), BridgeLimits(max_bytes=2 * BridgeLimits().max_bytes)
    buffer = PartitionBuffer("log", "s" * 22, 0, limits, delivery, BridgeStats())
    buffer.extend(range(20_000), [1_770_000_000_000] * 20_000, [record] * 20_000, now=0.0)
    buffer.flush()
    assert delivery.submitted
    assert max(len(envelope.data) for envelope, _ in delivery.submitted) + OVERHEAD_BYTES < PUBSUB_BYTES


@pytest.mark.parametrize("caller_timeout_ms", [600, 800])
def test_deadlines_of_answer_fit_into_caller_timeout(caller_timeout_ms: int) -> None:
    """History, customer service and a quarter for the object store."""
    settings = Settings(caller_timeout_ms=caller_timeout_ms)
    deadlines = [settings.lookup_deadline_ms, settings.lookup_deadline_ms, caller_timeout_ms // 4]
    assert sum(deadlines) < caller_timeout_ms
    assert FUNCTIONS["recommend"].timeout_s * 1000 > caller_timeout_ms


def test_functions_respect_limits_of_cloud_run() -> None:
    """An instance takes 1,000 concurrent requests, a request an hour."""
    for function in FUNCTIONS.values():
        assert 1 <= function.workers * function.threads <= 1000
        assert function.timeout_s <= 3600
        assert function.instances.min <= function.instances.max


@pytest.mark.parametrize("name", sorted(read_schedules(ROOT)))
def test_schedule_timeout_is_at_most_its_period(name: str) -> None:
    """A job ends before its next run."""
    schedule = read_schedules(ROOT)[name]
    minute, hour, *_ = schedule.cron.split()
    period = 60 * int(minute[2:]) if minute.startswith("*/") else 3600 if hour == "*" else 86_400
    assert schedule.timeout_s <= period


def test_compose_runs_at_most_the_maximum_of_instances() -> None:
    """Compose has no more instances of `recommend` than the cloud may start."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    instances = [name for name in services if name.startswith("recommend-")]
    assert 0 < len(instances) <= FUNCTIONS["recommend"].instances.max


def test_operations_page_is_current() -> None:
    """`make docs` writes its table of limits."""
    assert (ROOT / "docs/operations.md").read_text() == generate.operations_page()
