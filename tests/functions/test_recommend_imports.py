"""Tests of the modules that the first answer imports, and of those it must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.servers.function import ROOT
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server
from tests.serving.models import release_model

from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.file_store import FileStore

HEAVY = {
    "pandas",
    "scipy",
    "numba",
    "surprise",
    "sklearn",
    "pyarrow",
    "boto3",
    "botocore",
    "google.cloud.storage",
    "google.cloud.pubsub_v1",
    "google.api_core",
    "grpc",
    "psycopg2",
    "confluent_kafka",
    "aiohttp",
    "requests",
    "zoneinfo",
    "http.cookiejar",
    "prometheus_client",
    "xml",
    "marquee.serving.customer_client",
    "marquee.serving.impressions",
    "marquee.serving.stated_interests",
    "marquee.serving.popular_movies",
    "marquee.events.batches",
    "marquee.bridge.delivery.delivery",
    "marquee.events.envelopes",
    "marquee.db",
    "marquee.registry.artifact",
    "marquee.registry.trained_model",
}

# Load the function as functions-framework does, and request one answer.
ANSWER = """
import json, sys, functions_framework
client = functions_framework.create_app("recommend", sys.argv[1]).test_client()
before = sorted(t.name for t in __import__("threading").enumerate())
answer = client.get("/recommend/1000")
print(json.dumps({"status": answer.status_code, "threads": before, "modules": sorted(sys.modules)}))
"""


def import_modules(objects_url: str, directory: Path, **environment: str) -> set[str]:
    """Return the modules that are loaded once a function has started and answered one request."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")}
    clean |= {
        "MARQUEE_OBJECTS_URL": objects_url,
        "MARQUEE_CALLER_TIMEOUT_MS": "20000",
        "PYTHONPATH": str(ROOT / "shared"),
        **environment,
    }
    run = subprocess.run(
        [sys.executable, "-c", ANSWER, str(ROOT / "functions/recommend/main.py")],
        env=clean,
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["status"] == 200
    assert found["threads"] == ["MainThread"]
    return set(found["modules"])


def test_imports_with_files_are_light_and_start_no_thread(tmp_path: Path) -> None:
    """Clients of stores, queues and the database are imported only where they are used.

    Threads started at import would be lost in gunicorn's fork.
    """
    release_model(FileStore(tmp_path / "objects"))
    modules = import_modules(f"file://{tmp_path}/objects", tmp_path)
    assert modules & (HEAVY | {"obstore"}) == set()


@pytest.mark.servers
@pytest.mark.parametrize(
    ("server", "scheme", "variable"),
    [(GcsServer, "gs", "STORAGE_EMULATOR_HOST"), (S3Server, "s3", "AWS_ENDPOINT_URL")],
)
def test_imports_with_a_cloud_store_have_no_cloud_client(
    server: type[GcsServer | S3Server],
    scheme: str,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clouds' own clients take longer to import than everything else together; obstore takes 2 ms."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    with server(tmp_path) as running:
        running.make_bucket("marquee-models")
        environment = {variable: running.url, **keys}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        release_model(connect(f"{scheme}://marquee-models/objects"))
        modules = import_modules(f"{scheme}://marquee-models/objects", tmp_path, **environment)
    assert "obstore" in modules
    assert modules & HEAVY == set()
