"""The limits of docs/operations.md, from the files and the code that set them."""

from __future__ import annotations

import re
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.bridge.bridge_stats import BridgeStats
from marquee.bridge.partition_buffer import PartitionBuffer
from marquee.config.settings import Settings
from marquee.events.envelopes import Envelope
from marquee.local.infra_spec import read_functions, read_schedules

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "infra/terraform"
FUNCTIONS = read_functions(ROOT)
PUBSUB_BYTES = 10_000_000
# What Pub/Sub counts beside the data: attributes, ordering key, the message id.
BESIDE_THE_DATA = 10_000


def number(file: str, pattern: str) -> int:
    """The one number that ``pattern`` finds in a file of Terraform."""
    (found,) = re.findall(pattern, (TERRAFORM / file).read_text())
    return int(found)


def test_connections_suffice_with_every_instance_up() -> None:
    """Each process has its pool; `recommend` reads history on one more, `monitor` has three; each job has one;
    Grafana four."""
    per_process = Settings().database_connections
    needed = sum(
        function.instances.max
        * function.workers
        * (3 if name == "monitor" else per_process + (name == "recommend"))
        for name, function in FUNCTIONS.items()
        if "database_url" in function.needs
    )
    jobs = 1 + len(read_schedules(ROOT))
    grafana = number("grafana.tf", r"maxOpenConns\s*= (\d+)")
    taken = number("variables.tf", r'(?s)variable "database_connections".*?default\s*= (\d+)')
    assert needed + jobs + grafana <= taken


def test_pubsub_waits_longer_than_ingest_may_take() -> None:
    """Or it would send again what is being written; it waits for 600 s at most."""
    margin = number("pubsub.tf", r"functions\.ingest\.timeout_s \+ (\d+)")
    deadline = FUNCTIONS["ingest"].timeout_s + margin
    assert FUNCTIONS["ingest"].timeout_s < deadline <= 600
    prepare = (ROOT / "infra/compose/prepare.py").read_text()
    assert re.findall(r'"ackDeadlineSeconds": (\d+),\n\s+"pushConfig"', prepare) == [str(deadline)]


def test_a_delivery_gives_up_before_the_function_does() -> None:
    """Then a delivery over HTTP never leaves work behind that goes on unseen."""
    assert BridgeLimits().delivery_timeout_s < FUNCTIONS["ingest"].timeout_s


class Sizes:
    """A delivery that takes everything and keeps its size."""

    def __init__(self) -> None:
        self.bytes: list[int] = []

    def submit(self, envelope: Envelope) -> Future[None]:
        self.bytes.append(len(envelope.data))
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "line", [b"x" * 120, b"\x00" * 1000, b'"\\' * 500, b"\xff\xfe" * 600, "ü".encode() * 300]
)
def test_a_batch_is_less_than_pubsub_takes(line: bytes) -> None:
    """A batch of 9 MB fits, whatever is in the records: escapes and base64 make them longer."""
    limits = BridgeLimits(max_bytes=9_000_000, max_in_flight=100)
    assert BridgeLimits().max_bytes <= limits.max_bytes < PUBSUB_BYTES
    sizes = Sizes()
    buffer = PartitionBuffer("log", "s" * 22, 0, limits, sizes, BridgeStats())
    buffer.extend(range(20_000), [1_770_000_000_000] * 20_000, [line] * 20_000, now=0.0)
    buffer.flush()
    assert sizes.bytes
    assert max(sizes.bytes) + BESIDE_THE_DATA < PUBSUB_BYTES


def test_every_wait_of_an_answer_is_within_the_callers_patience() -> None:
    """History, the customer service and a quarter for the object store: together less than the caller waits."""
    settings = Settings()
    waits = [settings.history_deadline_ms, settings.customers_deadline_ms, settings.caller_timeout_ms // 4]
    assert sum(waits) < settings.caller_timeout_ms
    assert FUNCTIONS["recommend"].timeout_s * 1000 > settings.caller_timeout_ms
    older = replace(settings, caller_timeout_ms=800)
    assert sum(waits) < older.caller_timeout_ms


def test_the_platforms_bounds_are_kept() -> None:
    """Cloud Run takes 1,000 requests an instance at one time, and an hour a request; a job ends before its next run."""
    for function in FUNCTIONS.values():
        assert 1 <= function.workers * function.threads <= 1000
        assert function.timeout_s <= 3600
        assert function.instances.min <= function.instances.max
    for schedule in read_schedules(ROOT).values():
        minute, hour, *_ = schedule.cron.split()
        period = 60 * int(minute[2:]) if minute.startswith("*/") else 3600 if hour == "*" else 86_400
        assert schedule.timeout_s <= period


def test_each_alert_has_its_line_in_the_manual() -> None:
    """The alert's mail sends its reader there."""
    manual = (ROOT / "docs/operations.md").read_text()
    monitoring = (TERRAFORM / "monitoring.tf").read_text()
    alerts = [*re.findall(r"^    ([a-z-]+) = \{$", monitoring, re.M), "silent"]
    assert len(alerts) > 3
    assert not [alert for alert in alerts if f"| `{alert}` |" not in manual]


def test_the_manual_states_what_the_files_say() -> None:
    """Its table of limits has today's numbers."""
    (table,) = re.findall(r"(?s)## Limits\n(.*)", (ROOT / "docs/operations.md").read_text())
    settings, functions = Settings(), FUNCTIONS
    margin = number("pubsub.tf", r"functions\.ingest\.timeout_s \+ (\d+)")
    stated: list[Any] = [
        f"{functions['ingest'].timeout_s + margin} s",
        f"{BridgeLimits().delivery_timeout_s:g} s",
        f"{BridgeLimits().max_bytes // 1_000_000} MB",
        f"{settings.history_deadline_ms} ms",
        f"{functions['recommend'].instances.max * functions['recommend'].workers * functions['recommend'].threads} for",
    ]
    assert not [text for text in stated if f"| {text}" not in table]


def test_containers_listen_where_functions_say() -> None:
    """Compose keeps to one of each but for `recommend`; none has more workers than the file says."""
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert (
        len([name for name in compose if name.startswith("recommend-")])
        <= FUNCTIONS["recommend"].instances.max
    )
