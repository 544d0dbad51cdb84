"""What CI runs against real servers is run here against the embedded ones, and Grafana's API against a recorder."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from infra.grafana import Grafana, load_alerts, load_dashboards
from infra.integration import run

from marquee.config.settings import Settings
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka

ROOT = Path(__file__).parents[2]


@pytest.mark.servers
def test_each_line_from_kafka_to_the_tables(kafka: EmbeddedKafka, database_url: str, tmp_path: Path) -> None:
    """The very program of the workflow, with fewer lines."""
    options = tuple((name, str(value)) for name, value in CONSUMER_OPTIONS.items())
    settings = Settings(database_url=database_url, kafka_bootstrap=kafka.bootstrap, kafka_options=options)
    assert run(settings, 2_000, tmp_path) == 0


class Recorder(ThreadingHTTPServer):
    """Answers as Grafana does, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.boards: dict[str, Any] = {}
        self.sources: list[Any] = []
        self.lose_panels = False
        self.put: dict[str, Any] = {}
        self.points: list[Any] = []


class Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        assert self.headers["Authorization"] == "Basic " + base64.b64encode(b"admin:marquee").decode()
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/datasources":
            self.server.sources.append(document)
        if self.path == "/api/dashboards/db":
            self.server.boards[document["dashboard"]["uid"]] = document["dashboard"]
            return self._answer({"uid": document["dashboard"]["uid"]})
        if self.path == "/api/v1/provisioning/contact-points":
            self.server.points.append(document)
        return self._answer({})

    def do_PUT(self) -> None:
        self.server.put[self.path] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer({})

    def do_GET(self) -> None:
        if self.path == "/api/v1/provisioning/alert-rules":
            rules = [rule for document in self.server.put.values() for rule in document.get("rules", ())]
            return self._answer(rules[1:] if self.server.lose_panels else rules)
        board = dict(self.server.boards[self.path.rsplit("/", 1)[1]])
        if self.server.lose_panels:
            board["panels"] = []
        self._answer({"dashboard": board})

    def _answer(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the test's output is its own."""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One dashboard, and the data source that Compose provisions."""
    source = "infra/grafana/provisioning/datasources/marquee.yaml"
    (tmp_path / source).parent.mkdir(parents=True)
    (tmp_path / source).write_text((ROOT / source).read_text())
    (tmp_path / "dashboards").mkdir()
    (tmp_path / "dashboards/one.json").write_text(json.dumps({"uid": "one", "panels": [{}, {}]}))
    return tmp_path


def test_dashboards_are_loaded(recorder: Recorder, project: Path) -> None:
    """Each once, with the data source before them."""
    grafana = Grafana(f"http://admin:marquee@127.0.0.1:{recorder.server_address[1]}")
    assert load_dashboards(grafana, project) == 1
    assert [source["uid"] for source in recorder.sources] == ["marquee"]
    assert set(recorder.boards) == {"one"}


def test_a_dashboard_that_lost_panels_is_noticed(recorder: Recorder, project: Path) -> None:
    """Grafana takes much without a word."""
    recorder.lose_panels = True
    grafana = Grafana(f"http://admin:marquee@127.0.0.1:{recorder.server_address[1]}")
    with pytest.raises(SystemExit, match=r"one\.json"):
        load_dashboards(grafana, project)


def test_the_alerts_are_loaded(recorder: Recorder) -> None:
    """The repository's own: each rule in its group, the template and the contact point before them."""
    grafana = Grafana(f"http://admin:marquee@127.0.0.1:{recorder.server_address[1]}")
    groups = yaml.safe_load((ROOT / "dashboards/alerts.yaml").read_text())["groups"]
    assert load_alerts(grafana, ROOT) == sum(len(group["rules"]) for group in groups)
    assert "marquee.text" in recorder.put["/api/v1/provisioning/templates/marquee"]["template"]
    assert [point["settings"]["url"] for point in recorder.points] == ["http://127.0.0.1:9/none"]
    group = recorder.put["/api/v1/provisioning/folder/marquee/rule-groups/marquee-every-five-minutes"]
    assert (group["interval"], {rule["ruleGroup"] for rule in group["rules"]}) == (300, {group["title"]})


def test_a_rule_that_was_not_taken_is_noticed(recorder: Recorder) -> None:
    recorder.lose_panels = True
    grafana = Grafana(f"http://admin:marquee@127.0.0.1:{recorder.server_address[1]}")
    with pytest.raises(SystemExit, match="marquee-stream-silent"):
        load_alerts(grafana, ROOT)
