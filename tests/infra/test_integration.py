"""The programs of the integration workflow, against embedded servers and a fake Grafana API."""

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
def test_run_embedded_servers_stores_every_record(kafka: EmbeddedKafka, database_url: str, tmp_path: Path) -> None:
    """The program of the workflow with fewer records."""
    settings = Settings(database_url=database_url, kafka_bootstrap=kafka.bootstrap, kafka_options=CONSUMER_OPTIONS)
    assert run(settings, 2_000, tmp_path) == 0


class FakeGrafana(ThreadingHTTPServer):
    """Grafana's API as far as it is used; stores the documents."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.boards: dict[str, Any] = {}
        self.sources: list[Any] = []
        self.lose_panels = False
        self.put: dict[str, Any] = {}
        self.points: list[Any] = []


class Handler(BaseHTTPRequestHandler):
    server: FakeGrafana

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
        """Log nothing."""


@pytest.fixture
def fake_grafana() -> Iterator[FakeGrafana]:
    with FakeGrafana() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with one dashboard and Compose's data source."""
    source = "infra/grafana/provisioning/datasources/marquee.yaml"
    (tmp_path / source).parent.mkdir(parents=True)
    (tmp_path / source).write_text((ROOT / source).read_text())
    (tmp_path / "dashboards").mkdir()
    (tmp_path / "dashboards/one.json").write_text(json.dumps({"uid": "one", "panels": [{}, {}]}))
    return tmp_path


def test_load_creates_source_and_dashboards(fake_grafana: FakeGrafana, project: Path) -> None:
    """Each dashboard once, after the data source."""
    grafana = Grafana(f"http://admin:marquee@127.0.0.1:{fake_grafana.server_address[1]}")
    assert load_dashboards(grafana, project) == 1
    assert [source["uid"] for source in fake_grafana.sources] == ["marquee"]
    assert set(fake_grafana.boards) == {"one"}


def test_load_dashboard_without_panels_fails(fake_grafana: FakeGrafana, project: Path) -> None:
    """Grafana accepts invalid panels silently."""
    fake_grafana.lose_panels = True
    grafana = Grafana(f"http://admin:marquee@127.0.0.1:{fake_grafana.server_address[1]}")
    with pytest.raises(SystemExit, match=r"one\.json"):
        load_dashboards(grafana, project)


def test_load_alerts_creates_every_rule(fake_grafana: FakeGrafana) -> None:
    """The rules of the repository in their groups, after template and contact point."""
    grafana = Grafana(f"http://admin:marquee@127.0.0.1:{fake_grafana.server_address[1]}")
    groups = yaml.safe_load((ROOT / "dashboards/alerts.yaml").read_text())["groups"]
    assert load_alerts(grafana, ROOT) == sum(len(group["rules"]) for group in groups)
    assert "marquee.text" in fake_grafana.put["/api/v1/provisioning/templates/marquee"]["template"]
    assert [point["settings"]["url"] for point in fake_grafana.points] == ["http://127.0.0.1:9/none"]
    group = fake_grafana.put["/api/v1/provisioning/folder/marquee/rule-groups/marquee-every-five-minutes"]
    assert (group["interval"], {rule["ruleGroup"] for rule in group["rules"]}) == (300, {group["title"]})


def test_load_alerts_missing_rule_fails(fake_grafana: FakeGrafana) -> None:
    fake_grafana.lose_panels = True
    grafana = Grafana(f"http://admin:marquee@127.0.0.1:{fake_grafana.server_address[1]}")
    with pytest.raises(SystemExit, match="marquee-stream-silent"):
        load_alerts(grafana, ROOT)
