"""Tests of the request log, the Server-Timing header and the metrics."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.serving.models import release_model

from marquee.config.settings import Settings
from marquee.registry.object_store.file_store import FileStore
from marquee.serving.answer import Answer
from marquee.serving.app import create_service
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.http_api import RecommendHttp, Reply
from marquee.serving.instrumentation import InstrumentedApp
from marquee.serving.prometheus_text import Metrics
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.request_log import RequestLog
from marquee.serving.scored_movie import Tier

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class BrokenHttp(RecommendHttp):
    """Handler with a bug."""

    def reply(self, method: str, path: str, accept: str = "", query: str = "") -> Reply:
        raise ZeroDivisionError


class LogLines(list[bytes]):
    """A request log in memory."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self]


@pytest.fixture
def log_lines() -> LogLines:
    return LogLines()


@pytest.fixture
def app(store: FileStore, log_lines: LogLines) -> InstrumentedApp:
    release_model(store)
    recommender = Recommender(
        ReleaseCache(store, 60), objects=DeadlineExecutor("objects", deadline_ms=1_000), wait_s=30
    )
    return InstrumentedApp(
        RecommendHttp(recommender),
        RequestLog("movies", log_lines.append),
        gauges=lambda: {"release": 1},
        counters=lambda: {"impressions_sent_total": 7},
    )


def read_metrics(app: InstrumentedApp) -> dict[str, float]:
    """Return the values of ``GET /metrics`` by name."""
    text = app.reply("GET", "/metrics", {}).body.decode()
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def test_reply_request_log_has_the_answers_provenance(app: InstrumentedApp, log_lines: LogLines) -> None:
    """Tier, arm, version, the duration of each step and the trace, in the names of Cloud Logging; not the
    user.
    """
    reply = app.reply("GET", "/recommend/1000", {"HTTP_TRACEPARENT": f"00-{TRACE}-{SPAN}-01"})
    (line,) = log_lines.lines
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
    assert b"1000" not in log_lines[0].replace(reply.answer.recommendation_id.encode(), b"")
    assert log_lines[0].count(b"\n") == 1


def test_reply_invalid_request_is_logged(app: InstrumentedApp, log_lines: LogLines) -> None:
    """The raw user id is not part of the line."""
    app.reply("GET", "/recommend/12x\nforged", {})
    (line,) = log_lines.lines
    assert (line["status"], line["message"]) == (400, "GET /recommend/ 400")
    assert "tier" not in line


def test_reply_bug_returns_500_and_is_logged(app: InstrumentedApp, log_lines: LogLines) -> None:
    """The request is counted too."""
    broken = InstrumentedApp(BrokenHttp(app.http.recommender), RequestLog("", log_lines.append))
    reply = broken.reply("GET", "/recommend/1000", {})
    assert (reply.status, log_lines.lines[0]["severity"]) == (500, "ERROR")
    assert read_metrics(broken)['marquee_recommend_requests_total{status="500"}'] == 1


def test_reply_failing_log_is_ignored(app: InstrumentedApp) -> None:
    """A broken pipe does not fail the request."""

    def broken(_: bytes) -> None:
        raise BrokenPipeError

    broken_log = InstrumentedApp(app.http, RequestLog("", broken))
    assert broken_log.reply("GET", "/recommend/1000", {}).status == 200


def test_reply_health_checks_are_not_logged(app: InstrumentedApp, log_lines: LogLines) -> None:
    """All four paths answer 200 and leave the log empty."""
    for path in ("/healthz", "/readyz", "/version", "/metrics"):
        assert app.reply("GET", path, {}).status == 200
    assert log_lines == []


def test_reply_server_timing_has_each_step(app: InstrumentedApp) -> None:
    """The steps add up to no more than the total."""
    header = app.reply("GET", "/recommend/1000", {}).headers["Server-Timing"]
    parts = re.fullmatch(
        r"release;dur=(\S+), record;dur=(\S+), history;dur=(\S+), rank;dur=(\S+), total;dur=(\S+)", header
    )
    assert parts is not None
    *steps, total = map(float, parts.groups())
    assert sum(steps) <= total + 0.01


def test_metrics_count_requests_and_answers(app: InstrumentedApp) -> None:
    """By status, tier, arm and version; the histogram's buckets add up; metrics of other parts are included."""
    for user_id in ("1000", "1001", "5", "x,"):
        app.reply("GET", f"/recommend/{user_id}", {})
    values = read_metrics(app)
    answers = {name: n for name, n in values.items() if name.startswith("marquee_recommend_answers_total")}
    assert sorted(answers.values()) == [1, 2]
    assert all('arm="control"' in name for name in answers)
    assert values['marquee_recommend_requests_total{status="200"}'] == 3
    assert values['marquee_recommend_requests_total{status="400"}'] == 1
    assert values["marquee_recommend_seconds_count"] == values['marquee_recommend_seconds_bucket{le="+Inf"}'] == 4
    buckets = [n for name, n in values.items() if "_bucket" in name]
    assert buckets == sorted(buckets)
    assert values['marquee_recommend_step_seconds_total{step="rank"}'] > 0
    assert (values["marquee_recommend_release"], values["marquee_recommend_impressions_sent_total"]) == (1, 7)


def test_metrics_format_escapes_labels() -> None:
    """Quotes, backslashes and line breaks."""
    metrics = Metrics()
    now = datetime(2026, 3, 2, tzinfo=UTC)
    answer = Answer("id", "7", now, "control", "v", 1, Tier.POPULAR, (), notes=('a "quoted"\n\\note',))
    metrics.record(200, 0.1, answer)
    assert b'notes_total{note="a \\"quoted\\"\\n\\\\note"} 1' in metrics.format({}, {})


def test_metrics_page_lists_every_metric(tmp_path: Path) -> None:
    """The table of docs/recommend.md has the names and kinds of a service with all its parts."""
    settings = {"MARQUEE_OBJECTS_URL": f"file://{tmp_path}", "MARQUEE_DELIVERY_URL": "http://127.0.0.1:9"}
    service = create_service(Settings.from_mapping(settings))
    text = service.reply("GET", "/metrics", {}).body.decode()
    service.http.recommender.cache.close()
    kinds = dict(re.findall(r"^# TYPE marquee_recommend_(\w+) (\w+)$", text, re.MULTILINE))
    page = (Path(__file__).parents[2] / "docs/recommend.md").read_text()
    table = page.partition("`GET /metrics`, each name")[2]
    documented = {
        name: kind
        for names, kind in re.findall(r"^\| (`.*?`) \| (counter|gauge|histogram) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)", names)
    }
    assert documented == kinds
