"""What is said of each request: a line of JSON, a Server-Timing header, numbers for Prometheus."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.serving.models import released

from marquee.config.settings import Settings
from marquee.registry.object_store.file_store import FileStore
from marquee.serving.app import create_service
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.engine import Tier
from marquee.serving.http_api import RecommendHttp, Reply
from marquee.serving.instrumentation import InstrumentedApp
from marquee.serving.prometheus_text import Metrics
from marquee.serving.recommender import Answer, Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.request_log import RequestLog

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class BrokenHttp(RecommendHttp):
    """Handler with a bug."""

    def reply(self, method: str, path: str, accept: str = "") -> Reply:
        raise ZeroDivisionError


class Written(list[bytes]):
    """A log in memory."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self]


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def observed(store: FileStore, written: Written) -> InstrumentedApp:
    released(store)
    recommender = Recommender(
        ReleaseCache(store, 60), objects=DeadlineExecutor("objects", deadline_ms=1_000), wait_s=30
    )
    return InstrumentedApp(
        RecommendHttp(recommender),
        RequestLog("movies", written.append),
        gauges=lambda: {"release": 1},
        counters=lambda: {"impressions_sent_total": 7},
    )


def metrics(observed: InstrumentedApp) -> dict[str, float]:
    text = observed.reply("GET", "/metrics", {}).body.decode()
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def test_one_line_a_request_says_how_it_was_answered(observed: InstrumentedApp, written: Written) -> None:
    """Tier, arm, version, the time of each step and the trace, in the names that Cloud Logging knows; and
    not the user."""
    reply = observed.reply("GET", "/recommend/1000", {"HTTP_TRACEPARENT": f"00-{TRACE}-{SPAN}-01"})
    (line,) = written.lines
    assert reply.answer is not None
    assert line["severity"] == "INFO"
    assert (line["status"], line["tier"], line["arm"], line["movies"]) == (200, "personalised", "control", 20)
    assert (line["model_version"], line["release"]) == (reply.answer.version, 1)
    assert line["recommendation_id"] == reply.headers["Marquee-Recommendation-Id"]
    assert line["logging.googleapis.com/trace"] == f"projects/movies/traces/{TRACE}"
    assert line["logging.googleapis.com/spanId"] == SPAN
    assert line["logging.googleapis.com/trace_sampled"] is True
    assert set(line["steps_ms"]) == {"release", "record", "history", "rank"}
    assert line["total_ms"] >= sum(line["steps_ms"].values()) > 0
    assert b"1000" not in written[0].replace(reply.answer.recommendation_id.encode(), b"")
    assert written[0].count(b"\n") == 1


def test_a_refused_request_has_its_line_too(observed: InstrumentedApp, written: Written) -> None:
    observed.reply("GET", "/recommend/12x\nforged", {})
    (line,) = written.lines
    assert (line["status"], line["message"]) == (400, "GET /recommend/ 400")
    assert "tier" not in line


def test_a_mistake_of_ours_is_an_answer_and_is_logged(observed: InstrumentedApp, written: Written) -> None:
    broken = InstrumentedApp(BrokenHttp(observed.http.recommender), RequestLog("", written.append))
    reply = broken.reply("GET", "/recommend/1000", {})
    assert (reply.status, written.lines[0]["severity"]) == (500, "ERROR")
    assert metrics(broken)['marquee_recommend_requests_total{status="500"}'] == 1


def test_a_log_that_cannot_be_written_stops_no_answer(observed: InstrumentedApp) -> None:
    def broken(_: bytes) -> None:
        raise BrokenPipeError

    broken_log = InstrumentedApp(observed.http, RequestLog("", broken))
    assert broken_log.reply("GET", "/recommend/1000", {}).status == 200


def test_health_is_asked_for_often_and_not_logged(observed: InstrumentedApp, written: Written) -> None:
    for path in ("/healthz", "/readyz", "/version", "/metrics"):
        assert observed.reply("GET", path, {}).status == 200
    assert written == []


def test_server_timing_names_the_steps(observed: InstrumentedApp) -> None:
    said = observed.reply("GET", "/recommend/1000", {}).headers["Server-Timing"]
    parts = re.fullmatch(
        r"release;dur=(\S+), record;dur=(\S+), history;dur=(\S+), rank;dur=(\S+), total;dur=(\S+)", said
    )
    assert parts is not None
    *steps, total = map(float, parts.groups())
    assert sum(steps) <= total + 0.01


def test_metrics_count_what_was_answered(observed: InstrumentedApp) -> None:
    """By status, tier, arm and version; the histogram's buckets add up; what others keep is there too."""
    for user_id in ("1000", "1001", "5", "x"):
        observed.reply("GET", f"/recommend/{user_id}", {})
    found = metrics(observed)
    answers = {name: n for name, n in found.items() if name.startswith("marquee_recommend_answers_total")}
    assert sorted(answers.values()) == [1, 2]
    assert all('arm="control"' in name for name in answers)
    assert found['marquee_recommend_requests_total{status="200"}'] == 3
    assert found['marquee_recommend_requests_total{status="400"}'] == 1
    assert (
        found["marquee_recommend_seconds_count"] == found['marquee_recommend_seconds_bucket{le="+Inf"}'] == 4
    )
    buckets = [n for name, n in found.items() if "_bucket" in name]
    assert buckets == sorted(buckets)
    assert found['marquee_recommend_step_seconds_total{step="rank"}'] > 0
    assert (found["marquee_recommend_release"], found["marquee_recommend_impressions_sent_total"]) == (1, 7)


def test_labels_are_escaped() -> None:
    metrics = Metrics()
    now = datetime(2026, 3, 2, tzinfo=UTC)
    answer = Answer("id", "7", now, "control", "v", 1, Tier.POPULAR, (), notes=('a "quoted"\n\\note',))
    metrics.record(200, 0.1, answer)
    assert b'notes_total{note="a \\"quoted\\"\\n\\\\note"} 1' in metrics.format({}, {})


def test_the_page_names_every_metric_that_there_is(tmp_path: Path) -> None:
    """docs/recommend.md's table, held against a service with all its parts."""
    settings = {"MARQUEE_OBJECTS_URL": f"file://{tmp_path}", "MARQUEE_DELIVERY_URL": "http://127.0.0.1:9"}
    service = create_service(Settings.from_mapping(settings))
    text = service.reply("GET", "/metrics", {}).body.decode()
    service.http.recommender.cache.close()
    kinds = dict(re.findall(r"^# TYPE marquee_recommend_(\w+) (\w+)$", text, re.MULTILINE))
    page = (Path(__file__).parents[2] / "docs/recommend.md").read_text()
    table = page.partition("`GET /metrics`, each name")[2]
    told = {
        name: kind
        for names, kind in re.findall(r"^\| (`.*?`) \| (counter|gauge|histogram) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)", names)
    }
    assert told == kinds
