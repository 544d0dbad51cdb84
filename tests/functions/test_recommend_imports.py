"""What an answer costs at the start: the modules that it loads, and those it must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.recommend.models import released
from tests.servers.function import ROOT

from marquee.artifacts.file import FileStore

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
}

# As functions-framework loads it, and one answer.
ANSWER = """
import json, sys, functions_framework
client = functions_framework.create_app("recommend", sys.argv[1]).test_client()
before = sorted(t.name for t in __import__("threading").enumerate())
answer = client.get("/recommend/1000")
print(json.dumps({"status": answer.status_code, "threads": before, "modules": sorted(sys.modules)}))
"""


def test_an_answer_from_files_loads_nothing_heavy_and_the_import_starts_nothing(tmp_path: Path) -> None:
    """The clients of stores, queues and the database are for those who use them. Threads begun at the
    import would be lost in gunicorn's fork."""
    released(FileStore(tmp_path / "objects"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")}
    environment |= {
        "MARQUEE_OBJECTS_URL": f"file://{tmp_path}/objects",
        "MARQUEE_CALLER_TIMEOUT_MS": "20000",
        "PYTHONPATH": str(ROOT / "shared"),
    }
    run = subprocess.run(
        [sys.executable, "-c", ANSWER, str(ROOT / "functions/recommend/main.py")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["status"] == 200
    assert found["threads"] == ["MainThread"]
    assert HEAVY & set(found["modules"]) == set()
