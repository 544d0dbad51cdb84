"""What an answer costs at the start: the modules that it loads, and those it must not."""

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
from tests.serving.models import released

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
    "numpy.testing",
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

# As functions-framework loads it, and one answer.
ANSWER = """
import json, sys, functions_framework
client = functions_framework.create_app("recommend", sys.argv[1]).test_client()
before = sorted(t.name for t in __import__("threading").enumerate())
answer = client.get("/recommend/1000")
print(json.dumps({"status": answer.status_code, "threads": before, "modules": sorted(sys.modules)}))
"""


def answered(objects_url: str, directory: Path, **environment: str) -> set[str]:
    """The modules that are loaded once a function has started and answered once."""
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


def test_an_answer_from_files_loads_nothing_heavy_and_the_import_starts_nothing(tmp_path: Path) -> None:
    """The clients of stores, queues and the database are for those who use them. Threads begun at the
    import would be lost in gunicorn's fork."""
    released(FileStore(tmp_path / "objects"))
    modules = answered(f"file://{tmp_path}/objects", tmp_path)
    assert modules & (HEAVY | {"obstore"}) == set()


@pytest.mark.servers
@pytest.mark.parametrize(
    ("server", "scheme", "variable"),
    [(GcsServer, "gs", "STORAGE_EMULATOR_HOST"), (S3Server, "s3", "AWS_ENDPOINT_URL")],
)
def test_an_answer_from_a_cloud_loads_none_of_the_clouds_own_clients(
    server: type[GcsServer | S3Server],
    scheme: str,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They take longer to import than everything else together; what reads instead takes 2 ms."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    with server(tmp_path) as running:
        running.make_bucket("marquee-models")
        environment = {variable: running.url, **keys}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        released(connect(f"{scheme}://marquee-models/objects"))
        modules = answered(f"{scheme}://marquee-models/objects", tmp_path, **environment)
    assert "obstore" in modules
    assert modules & HEAVY == set()
