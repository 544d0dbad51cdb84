"""What an answer costs at the start: the modules that it loads, and those it must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.recommend.models import released
from tests.servers.function import ROOT
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server

from marquee.artifacts.file import FileStore
from marquee.artifacts.object_store import connect

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
    "numpy.typing",
    "numpy._typing",
    "numpy._core._add_newdocs",
    "msgspec.inspect",
    "msgspec.toml",
    "msgspec.yaml",
    "typing_extensions",
    "zoneinfo",
    "http.cookiejar",
    "prometheus_client",
    "xml",
    "marquee.recommend.batch",
    "marquee.recommend.customers",
    "marquee.recommend.impressions",
    "marquee.recommend.likes",
    "marquee.recommend.popular",
    "marquee.stream.batch",
    "marquee.stream.delivery",
    "marquee.stream.envelope",
    "marquee.telemetry",
    "marquee.artifacts.artifact",
    "marquee.artifacts.model",
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


LEAN = """
from marquee.recommend.lean_imports import OF_MSGSPEC, OF_NUMPY, import_msgspec, import_numpy
import_numpy()
import_msgspec()
import sys
left = {*OF_MSGSPEC, *OF_NUMPY, "typing_extensions"} & set(sys.modules)
assert not left, f"{left} was left behind"
before = sys.modules["numpy"], sys.modules["msgspec"]
import_numpy()
import_msgspec()
assert (sys.modules["numpy"], sys.modules["msgspec"]) == before
"""
NUMPY = """
import numpy as np
assert np.allclose(np.linalg.solve(np.array([[2.0, 1.0], [1.0, 3.0]]), [3.0, 5.0]), [0.8, 1.4])
assert np.linalg.eigh(np.eye(2)).eigenvalues.tolist() == [1.0, 1.0]
import numpy.testing, numpy.typing
assert numpy.typing.NDArray[np.float32].__origin__ is np.ndarray
"""
MSGSPEC = """
from datetime import datetime
from typing import Annotated
import msgspec
class Row(msgspec.Struct):
    at: datetime
    names: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
row = msgspec.json.decode('{"at": "2026-01-02T03:04:05Z", "names": ["a"]}', type=Row)
assert (row.at.year, row.names, msgspec.structs.asdict(row)["names"]) == (2026, ("a",), ("a",))
import msgspec.inspect, msgspec.toml, msgspec.yaml, typing_extensions
assert msgspec.inspect.type_info(Row).cls is Row
assert msgspec.toml.decode("a = 1") == {"a": 1}
assert typing_extensions.get_type_hints(Row)["at"] is datetime
"""


@pytest.mark.parametrize("used", [NUMPY, MSGSPEC])
def test_what_is_left_out_for_the_start_is_there_for_who_asks_for_it_afterwards(used: str) -> None:
    """The pinned numpy and msgspec are whole in all else."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", LEAN + used + 'print("whole")'],
        env={**os.environ, "PYTHONPATH": str(ROOT / "shared")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "whole\n"), run.stderr


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
