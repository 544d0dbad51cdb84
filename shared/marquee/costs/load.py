"""What is asked of the system, and how it is made to answer: everything that a bill depends on but the prices.

The figures of ``Work`` are measured (docs/benchmarks.md) or, where it says so, assumed; each can be given
another value. ``System`` repeats what ``infra/`` says, which is not there in the cloud; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MONTH_H = 730.0
MONTH_S = MONTH_H * 3_600
GIB = 2.0**30


@dataclass(frozen=True, slots=True)
class Load:
    """Lines of the log and requests for recommendations, a second, on the month's average."""

    lines_per_second: float
    requests_per_second: float

    def times(self, factor: float) -> Load:
        """The same mixture, more or less of it."""
        return Load(self.lines_per_second * factor, self.requests_per_second * factor)


@dataclass(frozen=True, slots=True)
class Work:
    """What one line, one batch and one request take."""

    bridge_us_per_line: float = 1.3
    ingest_us_per_line: float = 2.4
    recommend_ms: float = 0.7
    """Processor time of one answer, HTTP included."""
    answer_s: float = 0.05
    """Assumed: how long one answer takes by the clock, the database asked."""
    write_s: float = 0.05
    """Assumed: how long `ingest` takes for one batch by the clock."""
    line_bytes: float = 140.0
    """One line within a StreamBatch: its text, offset and time."""
    kafka_bytes: float = 90.0
    """One line as the bridge reads it from Kafka."""
    row_bytes: float = 90.0
    """One line on its way into the database."""
    impression_bytes: float = 2_300.0
    """One list of twenty movies as JSON."""
    answer_bytes: float = 1_000.0
    """One answer to the caller with its headers, and one question to the database."""
    request_log_bytes: float = 1_500.0
    """Assumed: what one request of a function leaves in the log, Google's entry and ours."""
    user_reads: float = 2.0
    """Ranged reads of the artifact for one answer."""
    stored_bytes_per_line: float = 50.0
    """Assumed: one line in the database, with its indexes, some days of it compressed."""
    kept_days: float = 7.0
    """How long lines are kept, by the database and by the topic."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function of infra/functions.yaml; `vcpu` and `concurrency` as Terraform derives them."""

    memory_gib: float
    max_instances: int
    concurrency: int
    vcpu: float = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """What runs by the clock; `seconds` a run is assumed."""

    vcpu: float
    memory_gib: float
    runs_per_day: float
    seconds: float
    by_request: bool = False
    """A function that the clock calls, not a job."""


@dataclass(frozen=True, slots=True)
class System:
    """How it is deployed."""

    ingest: Function = Function(0.5, 10, 4)
    recommend: Function = Function(0.5, 20, 8)
    jobs: dict[str, Job] = field(
        default_factory=lambda: {
            "retrain": Job(4, 8, 1, 300),
            "retention": Job(1, 0.5, 24, 60),
            "retrain-if-asked": Job(4, 8, 8, 60),
            "monitor": Job(1, 1, 288, 20, by_request=True),
        }
    )
    bridges: int = 1
    bridge_memory_gib: float = 0.5
    partitions: int = 2
    batch_s: float = 0.25
    batch_lines: int = 20_000
    impressions_s: float = 0.5
    """How long an impression waits for others."""
    refresh_s: float = 15.0
    secrets: int = 2
    images_gib: float = 5.0
    """Assumed: the images that the registry keeps."""
    artifacts_gib: float = 5.0
    """Assumed: a year of nightly models, and what was deployed."""
    grafana_users: int = 3
    busy_share: float = 0.6
    """How far Cloud Run fills an instance's processor and places before it starts another."""


def batches_per_second(lines_per_second: float, system: System) -> float:
    """Batches that the bridge sends, all partitions together.

    A batch begins with a line and ends ``batch_s`` later, or when it is full.
    """
    each = lines_per_second / system.partitions
    return system.partitions * max(_gathered(each, system.batch_s), each / system.batch_lines)


def impression_batches_per_second(requests_per_second: float, instances: float, system: System) -> float:
    """Batches that the instances of `recommend` send."""
    senders = max(1.0, instances)
    return senders * _gathered(requests_per_second / senders, system.impressions_s)


def _gathered(per_second: float, wait_s: float) -> float:
    """Of arrivals at random: one opens a batch, those of the next ``wait_s`` join it."""
    return per_second / (1 + per_second * wait_s)
