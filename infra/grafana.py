"""Load the data source and the dashboards into a running Grafana, and see that it took each panel.

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


if __name__ == "__main__":
    sys.stdout.write(f"{load(Grafana(sys.argv[1]), ROOT)} dashboards loaded\n")
