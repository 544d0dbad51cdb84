"""The simulation in a process of its own, with a real broker and HTTP server: every record is counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.servers.recommender import RecommenderServer, StubResponse
from tests.simulate.small_service import sample_ratings, write_base_data
from tests.support.waiting import wait_until

from marquee.events.kinds import MalformedRecord, RecommendationRequest
from marquee.events.parser import EventParser
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import Process
from marquee.simulate.report import SimulationReport

pytestmark = pytest.mark.servers
Records = dict[int, list[bytes]]

SYNTHETIC = ("--mode", "synthetic")


@pytest.fixture
def recommender() -> Iterator[RecommenderServer]:
    """A server that recommends movies of the replay, and returns 400 for an invalid user id."""

    def respond(user_id: str) -> StubResponse:
        if user_id.isascii() and user_id.isdigit() and len(user_id) < 33:
            return StubResponse(200, "film+7+1999,film+6+1999")
        return StubResponse(400, "a user id is digits")

    with RecommenderServer(respond) as server:
        yield server


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "marquee", "simulate", *map(str, arguments)]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, **environment}
    return subprocess.run(command(*arguments), capture_output=True, timeout=60, check=False, env=env)


def start(name: str, tmp_path: Path, *arguments: object) -> Process:
    process = Process(name, command(*arguments), tmp_path / f"{name}.log", env={"PYTHONUNBUFFERED": "1"})
    process.start()
    return process


def read_report(path: Path) -> SimulationReport | None:
    return SimulationReport.read(path) if path.exists() else None


def consume(kafka: EmbeddedKafka, topic: str, count: int) -> Records:
    """Return ``count`` records of a topic by partition, and any that follow within a moment."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "none", "enable.auto.commit": False})
    records: Records = {}
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        deadline = time.monotonic() + 30
        while True:
            complete = sum(map(len, records.values())) >= count
            messages = consumer.consume(1_000, timeout=0.3)
            for message in messages:
                assert message.error() is None
                partition, value = message.partition(), message.value()
                assert partition is not None
                assert value is not None
                assert message.offset() == len(records.setdefault(partition, []))
                records[partition].append(value)
            if not messages and (complete or time.monotonic() > deadline):
                break
    finally:
        consumer.close()
    return records


def assert_report_matches(report: SimulationReport, records: Records) -> None:
    """Assert that the report's counts are those of the topic, to the record."""
    assert {number: span.records for number, span in report.partitions.items()} == {
        str(number): len(partition) for number, partition in sorted(records.items())
    }
    assert all(span.first == 0 for span in report.partitions.values())
    assert all((span.last or 0) <= span.records - 1 for span in report.partitions.values())
    parser, counts = EventParser(ZoneInfo("UTC")), Counter[str]()
    for record in (record for partition in records.values() for record in partition):
        try:
            parsed = parser.parse(record.decode())
            counts[parsed.category if isinstance(parsed, MalformedRecord) else "well-formed"] += 1
        except UnicodeDecodeError:
            counts["encoding"] += 1
    assert counts.pop("well-formed", 0) == report.acknowledged - sum(report.malformed.values())
    assert counts == Counter(report.malformed)
    assert report.unacknowledged == 0
    assert report.acknowledged == sum(report.records.values())


def test_simulate_synthetic_report_matches_the_topic(
    kafka: EmbeddedKafka, recommender: RecommenderServer, tmp_path: Path
) -> None:
    """With corrupted records, requests and invalid requests, all counts of the report are exact."""
    done = subprocess.run(
        command(
            *(*SYNTHETIC, "--kafka", kafka.bootstrap, "--topic", "accounted", "--partitions", 3),
            *("--records", 5_000, "--records-per-second", 3_000, "--corrupt", 0.05, "--url", recommender.url),
            *("--requests-per-second", 40, "--invalid-requests", 0.2, "--report", tmp_path / "report.json"),
            *("--caller-timeout-ms", 20_000),
        ),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    report = SimulationReport.read(tmp_path / "report.json")
    assert (report.finished, report.exhausted) == (True, False)
    assert_report_matches(report, consume(kafka, "accounted", report.acknowledged))
    assert sum(report.records[kind] for kind in ("watch", "rating", "account")) == 5_000
    assert report.requests == {"200": report.records["recommendation_request"]}
    assert set(report.invalid_requests) == {"400"}
    assert len(recommender.user_ids) == report.requests["200"] + report.invalid_requests["400"]


def test_simulate_replay_has_every_rating_and_request(
    kafka: EmbeddedKafka, recommender: RecommenderServer, tmp_path: Path
) -> None:
    """Every later rating is in the topic once; requests are logged with their response."""
    rows = sample_ratings(users=4, movies=8)
    data = write_base_data(tmp_path / "data", rows)
    subprocess.run(
        command(
            *("--data", data, "--fraction", 0.5, "--kafka", kafka.bootstrap, "--topic", "replayed"),
            *("--records-per-second", 1_500, "--url", recommender.url, "--requests-per-second", 30),
            *("--influence", 1, "--report", tmp_path / "report.json", "--caller-timeout-ms", 20_000),
        ),
        timeout=60,
        check=True,
    )
    report = SimulationReport.read(tmp_path / "report.json")
    assert report.exhausted
    records = consume(kafka, "replayed", report.acknowledged)
    assert_report_matches(report, records)
    assert report.records["rating"] == len(rows) // 2
    parser = EventParser(ZoneInfo("UTC"))
    events = [parser.parse(record.decode()) for partition in records.values() for record in partition]
    requests = [event for event in events if isinstance(event, RecommendationRequest)]
    assert len(requests) == report.requests["200"]
    assert {request.movie_ids for request in requests} == {("film+7+1999", "film+6+1999")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_simulate_signal_ends_with_a_complete_report(
    kafka: EmbeddedKafka, tmp_path: Path, number: signal.Signals
) -> None:
    """A signal stops new records; the process waits for all acknowledgements, reports, and exits with 0."""
    topic, path = f"ended-by-{number.name}", tmp_path / "report.json"
    process = start(
        *("signalled", tmp_path, *SYNTHETIC, "--kafka", kafka.bootstrap, "--topic", topic, "--report", path)
    )
    try:
        wait_until(lambda: (report := read_report(path)) is not None and report.acknowledged > 500, timeout_s=30)
        process.kill(number)
        assert process.wait(30) == 0
    finally:
        process.stop()
    report = SimulationReport.read(path)
    assert report.finished
    assert_report_matches(report, consume(kafka, topic, report.acknowledged))


def test_simulate_unavailable_broker_is_waited_for(tmp_path: Path) -> None:
    """Without a broker the report names the problem; afterwards no record is lost or duplicated."""
    path = tmp_path / "report.json"
    with EmbeddedKafka(tmp_path / "kafka", durable=True) as kafka:
        kafka.kill()
        process = start(
            *("patient", tmp_path, *SYNTHETIC, "--kafka", kafka.bootstrap, "--topic", "patient"),
            *("--records", 8_000, "--report", path),
        )
        try:
            wait_until(
                lambda: (report := read_report(path)) is not None and "retrying" in report.problem,
                timeout_s=30,
            )
            kafka.start()
            assert process.wait(60) == 0
        finally:
            process.stop()
        report = SimulationReport.read(path)
        assert (report.acknowledged, report.problem) == (8_000, "")
        assert_report_matches(report, consume(kafka, "patient", 8_000))


def test_simulate_same_seed_writes_the_same_records() -> None:
    """But for the times, processes with one seed write the same records, corrupted ones included."""
    arguments = (*SYNTHETIC, "--stdout", "--records", 3_000, "--records-per-second", 100_000)
    texts = [
        [line.partition(b",")[2] for line in run(*arguments, "--seed", seed).stdout.splitlines()] for seed in (4, 4, 5)
    ]
    assert len(texts[0]) == 3_000
    assert texts[0] == texts[1] != texts[2]


def test_simulate_requests_alone_need_no_kafka(recommender: RecommenderServer, tmp_path: Path) -> None:
    """A load test of the recommendations writes no records and reports the response times."""
    done = run(
        *(*SYNTHETIC, "--url", recommender.url, "--records-per-second", 0, "--requests-per-second", 100),
        *("--seconds", 1, "--report", tmp_path / "r.json", "--caller-timeout-ms", 20_000),
    )
    report = SimulationReport.read(tmp_path / "r.json")
    assert (done.returncode, report.acknowledged) == (0, 0)
    assert report.requests["200"] == report.response_ms.count > 20
    assert 0 < report.response_ms.p50 <= report.response_ms.p99 <= report.response_ms.max
    assert b"p99" in done.stderr


def test_simulate_closed_pipe_ends_without_error() -> None:
    """``marquee simulate --stdout | head -1`` exits with 0 and no traceback."""
    arguments = command(*SYNTHETIC, "--stdout", "--records-per-second", 50_000)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (SYNTHETIC, 1, b"--kafka HOST:PORT"),
        (("--stdout", "--data", "no-such-directory"), 1, b"marquee data fetch"),
        (("--stdout", "--corrupt", "2"), 2, b"--corrupt: '2': expected a number from 0 to 1"),
        (("--stdout", "--users", "0"), 2, b"--users: '0': expected an integer of at least 1"),
        (("--stdout", "--requests-per-second", "5"), 1, b"needs --url"),
        ((*SYNTHETIC, "--stdout", "--movies", "999999999"), 1, b"must be from 1 to"),
        ((*SYNTHETIC, "--stdout", "--url", "127.0.0.1:80"), 1, b"http://host:port"),
    ],
)
def test_simulate_invalid_arguments_say_what_is_valid(arguments: tuple[str, ...], code: int, message: bytes) -> None:
    """The error names the problem and what is valid, without a traceback; 2 is the code of a wrong call."""
    done = run(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert b"Traceback" not in done.stderr


def test_simulate_settings_from_environment_are_sufficient(kafka: EmbeddedKafka) -> None:
    """As a job, the simulation takes broker, topic, zone and scale from the environment."""
    done = run(
        *(*SYNTHETIC, "--records", 50),
        MARQUEE_KAFKA_BOOTSTRAP=kafka.bootstrap,
        MARQUEE_KAFKA_TOPIC="from-environment",
        MARQUEE_RATING_SCALE="1-10",
    )
    assert done.returncode == 0
    assert sum(map(len, consume(kafka, "from-environment", 50).values())) == 50


def test_simulate_job_has_the_options_of_the_command() -> None:
    """The job's entry point is the command."""
    main = Path(__file__).parents[2] / "jobs" / "simulate" / "main.py"
    done = subprocess.run([sys.executable, str(main), "--help"], capture_output=True, text=True, check=True)
    assert "--records-per-second" in done.stdout


def test_simulate_report_is_plain_json(tmp_path: Path) -> None:
    """Any other program can read the report."""
    run(*SYNTHETIC, "--stdout", "--records", 10, "--report", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_bytes())["acknowledged"] == 10
