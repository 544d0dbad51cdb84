"""The whole service in its own process: a real broker, a real HTTP server, and every line accounted for."""

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
from tests.servers.recommender import Answer, RecommenderServer
from tests.simulate.small_service import some_rows, write_base
from tests.support.waiting import wait_until

from marquee.events.kinds import MalformedRecord, RecommendationRequest
from marquee.events.parser import EventParser
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import Process
from marquee.simulate.report import SimulationReport

pytestmark = pytest.mark.servers
Lines = dict[int, list[bytes]]


@pytest.fixture
def recommender() -> Iterator[RecommenderServer]:
    """Answers at once with a movie that is always a known one of the replay's, and 400 to what is no user."""

    def answer(user_id: str) -> Answer:
        if user_id.isascii() and user_id.isdigit() and len(user_id) < 33:
            return Answer(200, "film+7+1999,film+6+1999")
        return Answer(400, "a user id is digits")

    with RecommenderServer(answer) as server:
        yield server


def simulate(*words: object) -> list[str]:
    return [sys.executable, "-m", "marquee", "simulate", *map(str, words)]


def consumed(kafka: EmbeddedKafka, topic: str, count: int) -> Lines:
    """The ``count`` lines of a topic, by partition; and whatever comes within a moment after them."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": "none", "enable.auto.commit": False}
    )
    found: Lines = {}
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        deadline = time.monotonic() + 30
        while True:
            complete = sum(map(len, found.values())) >= count
            messages = consumer.consume(1_000, timeout=0.3)
            for message in messages:
                assert message.error() is None
                assert message.offset() == len(found.setdefault(message.partition(), []))
                found[message.partition()].append(message.value())
            if not messages and (complete or time.monotonic() > deadline):
                break
    finally:
        consumer.close()
    return found


def assert_account(report: SimulationReport, lines: Lines) -> None:
    """The report's counts are what a reader of the topic finds, to the line."""
    assert {number: span.lines for number, span in report.partitions.items()} == {
        str(number): len(found) for number, found in sorted(lines.items())
    }
    assert all(span.first == 0 for span in report.partitions.values())
    assert all((span.last or 0) <= span.lines - 1 for span in report.partitions.values())
    parser, found = EventParser(ZoneInfo("UTC"), 5), Counter[str]()
    for line in (line for part in lines.values() for line in part):
        try:
            read = parser.parse(line.decode())
            found[read.category if isinstance(read, MalformedRecord) else "readable"] += 1
        except UnicodeDecodeError:
            found["encoding"] += 1
    assert found.pop("readable", 0) == report.readable
    assert found == Counter(report.unreadable)
    assert report.unacknowledged == 0
    assert report.acknowledged == sum(report.lines.values())


def test_the_report_is_what_a_consumer_reads(
    kafka: EmbeddedKafka, recommender: RecommenderServer, tmp_path: Path
) -> None:
    """Corrupt lines, requests, invalid requests: the account of all of it is exact."""
    done = subprocess.run(
        simulate(
            *("--mode", "made", "--kafka", kafka.bootstrap, "--topic", "accounted", "--partitions", 3),
            *("--lines", 5_000, "--lines-per-second", 3_000, "--corrupt", 0.05, "--url", recommender.url),
            *("--requests-per-second", 40, "--invalid-requests", 0.2, "--report", tmp_path / "report.json"),
            *("--caller-timeout-ms", 20_000),
        ),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    report = SimulationReport.read(tmp_path / "report.json")
    assert report.finished
    lines = consumed(kafka, "accounted", report.acknowledged)
    assert_account(report, lines)
    assert sum(report.lines[kind] for kind in ("watch", "rating", "account")) == 5_000
    assert report.requests == {"200": report.lines["recommendation_request"]}
    assert set(report.invalid_requests) == {"400"}
    assert len(recommender.asked) == report.requests["200"] + report.invalid_requests["400"]


def test_a_replay_is_whole_and_recommendations_come_first(
    kafka: EmbeddedKafka, recommender: RecommenderServer, tmp_path: Path
) -> None:
    """Every later rating is in the topic once; requests are logged with the answer and their own time."""
    rows = some_rows(users=4, movies=8)
    data = write_base(tmp_path / "data", rows)
    subprocess.run(
        simulate(
            *("--data", data, "--fraction", 0.5, "--kafka", kafka.bootstrap, "--topic", "replayed"),
            *("--lines-per-second", 1_500, "--url", recommender.url, "--requests-per-second", 30),
            *("--influence", 1, "--report", tmp_path / "report.json", "--caller-timeout-ms", 20_000),
        ),
        timeout=60,
        check=True,
    )
    report = SimulationReport.read(tmp_path / "report.json")
    lines = consumed(kafka, "replayed", report.acknowledged)
    assert_account(report, lines)
    assert report.lines["rating"] == len(rows) // 2
    events = [
        EventParser(ZoneInfo("UTC"), 5).parse(line.decode()) for part in lines.values() for line in part
    ]
    requests = [event for event in events if isinstance(event, RecommendationRequest)]
    assert len(requests) == report.requests["200"]
    assert {request.movie_ids for request in requests} == {("film+7+1999", "film+6+1999")}


def newest(path: Path) -> SimulationReport | None:
    return SimulationReport.read(path) if path.exists() else None


def started(name: str, tmp_path: Path, *words: object) -> Process:
    process = Process(name, simulate(*words), tmp_path / f"{name}.log", env={"PYTHONUNBUFFERED": "1"})
    process.start()
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_whole_account(
    kafka: EmbeddedKafka, tmp_path: Path, number: signal.Signals
) -> None:
    """It stops making lines, waits until all are safe, reports, and ends with 0."""
    topic, path = f"ended-by-{number.name}", tmp_path / "report.json"
    process = started(
        "signalled",
        tmp_path,
        "--mode",
        "made",
        "--kafka",
        kafka.bootstrap,
        "--topic",
        topic,
        "--report",
        path,
    )
    try:
        wait_until(lambda: (report := newest(path)) is not None and report.acknowledged > 500, timeout_s=30)
        process.kill(number)
        assert process.wait(30) == 0
    finally:
        process.stop()
    report = SimulationReport.read(path)
    assert report.finished
    assert_account(report, consumed(kafka, topic, report.acknowledged))


def test_a_broker_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """Until it is there the report says so; then no line is lost or doubled."""
    path = tmp_path / "report.json"
    with EmbeddedKafka(tmp_path / "kafka", durable=True) as kafka:
        kafka.kill()
        process = started(
            *("patient", tmp_path, "--mode", "made", "--kafka", kafka.bootstrap, "--topic", "patient"),
            *("--lines", 8_000, "--report", path),
        )
        try:
            wait_until(
                lambda: (report := newest(path)) is not None and "waiting" in report.waiting, timeout_s=30
            )
            kafka.start()
            assert process.wait(60) == 0
        finally:
            process.stop()
        report = SimulationReport.read(path)
        assert (report.acknowledged, report.waiting) == (8_000, "")
        assert_account(report, consumed(kafka, "patient", 8_000))


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, **environment}
    return subprocess.run(simulate(*words), capture_output=True, timeout=60, check=False, env=env)


def test_one_seed_the_same_lines_but_for_times() -> None:
    """Two processes with one seed write the same lines, corrupted ones among them; another seed others."""
    made = ("--mode", "made", "--stdout", "--lines", 3_000, "--lines-per-second", 100_000)
    texts = [
        [line.partition(b",")[2] for line in run(*made, "--seed", seed).stdout.splitlines()]
        for seed in (4, 4, 5)
    ]
    assert len(texts[0]) == 3_000
    assert texts[0] == texts[1] != texts[2]


def test_answers_alone_need_no_kafka(recommender: RecommenderServer, tmp_path: Path) -> None:
    """No lines, only requests: the load test of the answers, with response times in the report."""
    words = (
        "--mode",
        "made",
        "--url",
        recommender.url,
        "--lines-per-second",
        0,
        "--requests-per-second",
        100,
    )
    done = run(*words, "--seconds", 1, "--report", tmp_path / "r.json", "--caller-timeout-ms", 20_000)
    report = SimulationReport.read(tmp_path / "r.json")
    assert (done.returncode, report.acknowledged) == (0, 0)
    assert report.requests["200"] == report.response_ms.count > 20
    assert 0 < report.response_ms.p50 <= report.response_ms.p99 <= report.response_ms.max
    assert b"p99" in done.stderr


def test_a_reader_that_goes_is_no_fault() -> None:
    """``marquee simulate --stdout | head -1`` ends without a word."""
    words = simulate("--mode", "made", "--stdout", "--lines-per-second", 50_000)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mode", "made"), b"--kafka HOST:PORT"),
        (("--stdout", "--data", "no-such-directory"), b"marquee data fetch"),
        (
            ("--stdout", "--corrupt", "2", "--users", "0"),
            b"--corrupt 2 should be from 0 to 1\n--users 0 should",
        ),
        (("--stdout", "--requests-per-second", "5"), b"needs --url"),
        (("--mode", "made", "--stdout", "--movies", "999999999"), b"it can have from 1 to"),
        (("--mode", "made", "--stdout", "--url", "127.0.0.1:80"), b"http://host:port"),
    ],
)
def test_a_wrong_call_says_what_to_do(words: tuple[str, ...], said: bytes) -> None:
    done = run(*words)
    assert done.returncode == 1
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_environment_is_enough(kafka: EmbeddedKafka) -> None:
    """As a job, it takes broker, topic, zone and scale from the environment."""
    done = run(
        *("--mode", "made", "--lines", 50),
        MARQUEE_KAFKA_BOOTSTRAP=kafka.bootstrap,
        MARQUEE_KAFKA_TOPIC="from-environment",
        MARQUEE_RATING_MAX="10",
    )
    assert done.returncode == 0
    assert sum(map(len, consumed(kafka, "from-environment", 50).values())) == 50


def test_the_job_is_the_command() -> None:
    main = Path(__file__).parents[2] / "jobs" / "simulate" / "main.py"
    done = subprocess.run([sys.executable, str(main), "--help"], capture_output=True, text=True, check=True)
    assert "--lines-per-second" in done.stdout


def test_the_report_is_plain_json(tmp_path: Path) -> None:
    """Any other program can read it."""
    run("--mode", "made", "--stdout", "--lines", 10, "--report", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_bytes())["acknowledged"] == 10
