"""Import of data source, dashboards and alerts into a running Grafana, with a check that it accepted each of them.

``python -m infra.grafana http://USER:PASSWORD@HOST:PORT``. CI uses it to show that Grafana accepts the files. Compose
provisions the same files, and Terraform loads them into Grafana Cloud.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from marquee.config.http_client import HttpClient
from marquee.errors import RequestFailed

ROOT = Path(__file__).parents[1]


class Grafana:
    """Client of Grafana's HTTP API. The URL contains user and password."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        # Connects to the address itself: a proxy of the environment cannot reach a Grafana of this machine.
        self._client = HttpClient(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", timeout_s=30)
        credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        self._headers = {
            "Authorization": f"Basic {base64.b64encode(credentials).decode()}",
            "Content-Type": "application/json",
        }

    def call(self, method: str, path: str, document: Any = None) -> Any:
        """Send a request and return the JSON response; raise SystemExit with Grafana's error message."""
        body = None if document is None else json.dumps(document).encode()
        try:
            status, _, answer = self._client.request(method, path, body, self._headers)
        except RequestFailed as error:
            raise SystemExit(f"Grafana: {method} {path}: no answer: {error}") from error
        if not 200 <= status < 300:
            raise SystemExit(f"Grafana: {method} {path}: {status} {answer.decode(errors='replace')[:500]}")
        return json.loads(answer)


def load_dashboards(grafana: Grafana, root: Path) -> int:
    """Load the data source and the dashboards; return the number of dashboards."""
    provisioned = root / "infra/grafana/provisioning/datasources/marquee.yaml"
    (source,) = yaml.safe_load(provisioned.read_text())["datasources"]
    grafana.call("POST", "/api/datasources", {"access": "proxy", **source})
    grafana.call("POST", "/api/folders", {"uid": "marquee", "title": "Marquee"})
    files = sorted((root / "dashboards").glob("*.json"))
    for file in files:
        board = json.loads(file.read_text())
        document = {"dashboard": {**board, "id": None}, "folderUid": "marquee", "overwrite": True}
        uid = grafana.call("POST", "/api/dashboards/db", document)["uid"]
        loaded = grafana.call("GET", f"/api/dashboards/uid/{uid}")["dashboard"]
        if len(loaded.get("panels", [])) != len(board.get("panels", [])):
            raise SystemExit(f"{file.name}: Grafana and the file differ in the number of panels")
    return len(files)


def load_alerts(grafana: Grafana, root: Path) -> int:
    """Load message template, contact point and rules; return the number of rules. Needs the dashboards."""
    notifications = yaml.safe_load((root / "infra/grafana/provisioning/alerting/slack.yaml").read_text())
    for template in notifications["templates"]:
        path = f"/api/v1/provisioning/templates/{template['name']}"
        grafana.call("PUT", path, {"template": template["template"]})
    for point in notifications["contactPoints"]:
        for receiver in point["receivers"]:
            # Grafana expands environment variables in provisioned files only, not in requests.
            settings = {**receiver["settings"], "url": "http://127.0.0.1:9/none"}
            document = {**receiver, "name": point["name"], "settings": settings}
            grafana.call("POST", "/api/v1/provisioning/contact-points", document)
    expected = {rule["uid"] for group in _read_groups(root) for rule in _load_group(grafana, group)}
    loaded = {rule["uid"] for rule in grafana.call("GET", "/api/v1/provisioning/alert-rules")}
    if missing := expected - loaded:
        raise SystemExit(f"Grafana did not load the rules {', '.join(sorted(missing))}")
    return len(expected)


def _read_groups(root: Path) -> list[Any]:
    groups: list[Any] = yaml.safe_load((root / "dashboards/alerts.yaml").read_text())["groups"]
    return groups


def _load_group(grafana: Grafana, group: Any) -> list[Any]:
    """Load a group in the form of the API, which differs from that of the file; return its rules."""
    seconds = int(group["interval"][:-1]) * {"s": 1, "m": 60, "h": 3_600}[group["interval"][-1]]
    location = {"orgID": group["orgId"], "folderUID": "marquee", "ruleGroup": group["name"]}
    rules = [{**rule, **location} for rule in group["rules"]]
    document = {"title": group["name"], "folderUid": "marquee", "interval": seconds, "rules": rules}
    grafana.call("PUT", f"/api/v1/provisioning/folder/marquee/rule-groups/{group['name']}", document)
    return rules


if __name__ == "__main__":
    instance = Grafana(sys.argv[1])
    sys.stdout.write(f"{load_dashboards(instance, ROOT)} dashboards loaded\n")
    sys.stdout.write(f"{load_alerts(instance, ROOT)} alert rules loaded\n")
