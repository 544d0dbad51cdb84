"""The prices, the assumptions and the page say what is so elsewhere in the repository."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from apscheduler.triggers.cron import CronTrigger
from benchmarks.ingest_path import STREAM_LINES_PER_S
from benchmarks.ingest_path import lines as stream
from docs import generate

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.config.settings import Settings
from marquee.costs.load import Job, System, Work
from marquee.costs.prices import FILE, read_prices
from marquee.costs.usage import NAT_INSTANCES
from marquee.errors import SettingsError
from marquee.events.batches import Impression, ImpressionMovie, StreamBatch, make_record
from marquee.events.envelopes import seal
from marquee.local.infra_spec import read_functions, read_schedules

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "infra/terraform"
WORK, SYSTEM = Work(), System()


@pytest.mark.parametrize("name", ["ingest", "recommend"])
def test_functions_are_as_infra_describes_them(name: str) -> None:
    described, ours = read_functions(ROOT)[name], getattr(SYSTEM, name)
    assert ours.memory_gib * 1024 == described.memory_mb
    assert ours.max_instances == described.instances.max
    assert ours.concurrency == described.workers * described.threads
    assert ours.vcpu == described.workers
    assert described.instances.min == 0, "an instance that waits is not in the bill"


def runs_per_day(cron: str) -> int:
    trigger, count = CronTrigger.from_crontab(cron, timezone=UTC), 0
    now = begin = datetime(2026, 3, 2, tzinfo=UTC)
    while (fires := trigger.get_next_fire_time(None, now)) and fires < begin + timedelta(days=1):
        count, now = count + 1, fires + timedelta(seconds=1)
    return count


def limits(name: str) -> tuple[float, float]:
    """Processors and GiB of a job, by Terraform."""
    pairs = re.findall(r'cpu = "(\d+)", memory = "(\d+)(Gi|Mi)"', (TERRAFORM / "jobs.tf").read_text())
    large, small = pairs[0], pairs[1]
    cpu, memory, unit = large if name == "retrain" else small
    return float(cpu), float(memory) / (1 if unit == "Gi" else 1024)


def test_jobs_are_as_infra_describes_them() -> None:
    """Each schedule, how often it runs and what it is given."""
    assert set(SYSTEM.jobs) == set(read_schedules(ROOT))
    for name, schedule in read_schedules(ROOT).items():
        job = SYSTEM.jobs[name]
        assert job.runs_per_day == runs_per_day(schedule.cron), name
        assert job.by_request == schedule.job.startswith("functions/")
        assert job.seconds <= schedule.timeout_s
        if job.by_request:
            memory = read_functions(ROOT)[Path(schedule.job).name].memory_mb / 1024
            assert (job.vcpu, job.memory_gib) == (1, memory)
        else:
            assert (job.vcpu, job.memory_gib) == limits(Path(schedule.job).name)


def test_the_bridge_is_as_terraform_deploys_it() -> None:
    text = (TERRAFORM / "bridge.tf").read_text()
    assert 'limits = { cpu = "1", memory = "512Mi" }' in text
    assert SYSTEM.bridge_memory_gib == 0.5
    bridges = re.search(
        r'variable "bridges".*?default\s*= (\d+)', (TERRAFORM / "variables.tf").read_text(), re.S
    )
    assert bridges
    assert SYSTEM.bridges == int(bridges[1])
    kept = re.search(r'message_retention_duration = "(\d+)s"', (TERRAFORM / "pubsub.tf").read_text())
    assert kept
    assert WORK.kept_days * 86_400 == int(kept[1])


def test_batches_are_as_the_settings_make_them() -> None:
    settings = Settings()
    assert SYSTEM.batch_s == BridgeLimits().max_wait_s
    assert SYSTEM.batch_lines == BridgeLimits().max_records
    assert SYSTEM.refresh_s == settings.release_refresh_s


def test_the_region_is_where_terraform_deploys() -> None:
    region = re.search(
        r'variable "region".*?default\s*= "([a-z0-9-]+)"', (TERRAFORM / "variables.tf").read_text(), re.S
    )
    assert region
    assert read_prices().region == region[1]


def test_processor_times_are_those_that_were_measured() -> None:
    """The profile of docs/benchmarks.md."""
    found = re.search(r"bridge ([\d.]+), function ([\d.]+) \(", (ROOT / "docs/benchmarks.md").read_text())
    assert found
    assert (WORK.bridge_us_per_line, WORK.ingest_us_per_line) == (float(found[1]), float(found[2]))


def test_bytes_are_those_of_real_lines_and_lists() -> None:
    """Within a tenth: lines as the benchmarks write them, lists of twenty movies."""
    texts = list(stream(5_000))
    assert STREAM_LINES_PER_S == 1_580
    batch = StreamBatch(
        "movielog",
        "4" * 22,
        0,
        tuple(make_record(123_456_789 + n, 1_700_000_000_000, t) for n, t in enumerate(texts)),
    )
    assert len(seal(batch).data) / len(texts) == pytest.approx(WORK.line_bytes, rel=0.1)
    assert sum(map(len, texts)) / len(texts) == pytest.approx(WORK.kafka_bytes, rel=0.2)
    movies = tuple(
        ImpressionMovie("the+film+number+1234+1978", 1.2345678, 3.9876543, 0.9123456) for _ in range(20)
    )
    shown = Impression(
        "i" * 36, datetime.now(UTC), "12345", "control", "20260214T000921-1a2b3c4d", 7, "personalised", movies
    )
    assert len(msgspec.json.encode(shown)) == pytest.approx(WORK.impression_bytes, rel=0.1)


def test_nat_is_capped_as_google_caps_it() -> None:
    """0.0014 an hour and instance, 0.044 an hour at the most: 32 instances, within two percent."""
    assert NAT_INSTANCES * read_prices().google.nat_vm_h.usd == pytest.approx(0.044, rel=0.02)


def test_an_old_table_is_said_to_be_old() -> None:
    table = read_prices()
    assert table.warning(table.date + timedelta(days=365)) is None
    assert "366 days old" in (table.warning(table.date + timedelta(days=366)) or "")
    assert table.date <= date.today(), "prices of the future"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('"usd": 24', '"usd": -24', "usd"),
        ('"currency": "USD"', '"currency": "EUR"', "currency"),
        ('"machines": [', '"m": [', "machines|`m`"),
    ],
)
def test_a_wrong_table_names_the_field(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(FILE.read_text().replace(right, wrong, 1))
    with pytest.raises(SettingsError, match=said):
        read_prices(path)


def test_what_is_generated_is_current() -> None:
    """make docs"""
    assert (ROOT / "docs/cost.md").read_text() == generate.cost_page()
    assert (ROOT / "docs/cost.svg").read_text() == generate.cost_plot()
    assert FILE.with_suffix(".schema.json").read_text() == generate.price_schema()


def test_a_function_that_the_clock_calls_is_billed_by_request() -> None:
    """Not as a job."""
    from marquee.costs.load import Load
    from marquee.costs.usage import uses

    system = System(jobs={"monitor": Job(1, 0.5, 24, 10, by_request=True)})
    used = [use for use in uses(Load(0, 0), WORK, system) if use.part == "jobs"]
    assert {use.resource for use in used} == {"request_vcpu_s", "request_gib_s", "requests", "schedules"}
