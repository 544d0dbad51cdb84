"""Load the data source, the dashboards and the alerts into a running Grafana, and see that it took each of them.

``python -m infra.grafana http://USER:PASSWORD@HOST:PORT``. For CI, where it shows that Grafana itself accepts the
files; Compose provisions the same files, and Terraform puts them into Grafana Cloud.
"""

from __future__ import annotations

import base64
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

ROOT = Path(__file__).parents[1]


class Grafana:
    """Its HTTP API, at a URL with user and password."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = f"{parts.scheme}://{parts.hostname}:{parts.port}"
        words = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        self._headers = {
            "Authorization": f"Basic {base64.b64encode(words).decode()}",
            "Content-Type": "application/json",
        }

    def call(self, method: str, path: str, document: Any = None) -> Any:
        """One call; raises SystemExit with what Grafana says against it."""
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self._url + path, body, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(
                f"Grafana: {method} {path}: {error.code} {error.read().decode()[:500]}"
            ) from error


def load(grafana: Grafana, root: Path) -> int:
    """Load everything; returns how many dashboards there are."""
    provisioned = root / "infra/grafana/provisioning/datasources/marquee.yaml"
    (source,) = yaml.safe_load(provisioned.read_text())["datasources"]
    grafana.call("POST", "/api/datasources", {"access": "proxy", **source})
    grafana.call("POST", "/api/folders", {"uid": "marquee", "title": "Marquee"})
    files = sorted((root / "dashboards").glob("*.json"))
    for file in files:
        board = json.loads(file.read_text())
        document = {"dashboard": {**board, "id": None}, "folderUid": "marquee", "overwrite": True}
        uid = grafana.call("POST", "/api/dashboards/db", document)["uid"]
        taken = grafana.call("GET", f"/api/dashboards/uid/{uid}")["dashboard"]
        if len(taken.get("panels", [])) != len(board.get("panels", [])):
            raise SystemExit(f"{file.name}: Grafana has another number of panels than the file")
    return len(files)


def load_alerts(grafana: Grafana, root: Path) -> int:
    """Load the message's template, the contact point and all rules after the dashboards; returns how many rules."""
    ways = yaml.safe_load((root / "infra/grafana/provisioning/alerting/slack.yaml").read_text())
    for template in ways["templates"]:
        path = f"/api/v1/provisioning/templates/{template['name']}"
        grafana.call("PUT", path, {"template": template["template"]})
    for point in ways["contactPoints"]:
        for receiver in point["receivers"]:
            # Grafana takes the webhook from its environment only where it reads the file itself.
            settings = {**receiver["settings"], "url": "http://127.0.0.1:9/none"}
            document = {**receiver, "name": point["name"], "settings": settings}
            grafana.call("POST", "/api/v1/provisioning/contact-points", document)
    wanted = {rule["uid"] for group in _groups(root) for rule in _load_group(grafana, group)}
    taken = {rule["uid"] for rule in grafana.call("GET", "/api/v1/provisioning/alert-rules")}
    if missing := wanted - taken:
        raise SystemExit(f"Grafana did not take the rules {', '.join(sorted(missing))}")
    return len(wanted)


def _groups(root: Path) -> list[Any]:
    groups: list[Any] = yaml.safe_load((root / "dashboards/alerts.yaml").read_text())["groups"]
    return groups


def _load_group(grafana: Grafana, group: Any) -> list[Any]:
    """One group, in the form that the API has for what the file says."""
    seconds = int(group["interval"][:-1]) * {"s": 1, "m": 60, "h": 3_600}[group["interval"][-1]]
    place = {"orgID": group["orgId"], "folderUID": "marquee", "ruleGroup": group["name"]}
    rules = [{**rule, **place} for rule in group["rules"]]
    document = {"title": group["name"], "folderUid": "marquee", "interval": seconds, "rules": rules}
    grafana.call("PUT", f"/api/v1/provisioning/folder/marquee/rule-groups/{group['name']}", document)
    return rules


if __name__ == "__main__":
    running = Grafana(sys.argv[1])
    sys.stdout.write(f"{load(running, ROOT)} dashboards loaded\n")
    sys.stdout.write(f"{load_alerts(running, ROOT)} alert rules loaded\n")
