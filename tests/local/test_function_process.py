"""Functions as functions-framework processes: one instance, or several on one port."""

import signal
import urllib.request
from pathlib import Path

import pytest
from tests.local.programs import wait_for

from marquee.local.function_process import answers, instance, instance_of_several
from marquee.local.infra_spec import FunctionSpec, Instances, LocalFunction
from marquee.local.process import Process, free_port, port_open

MAIN = """
import os
def hello(request):
    if request.path == "/sick":
        return "no", 503
    return f"{os.getpid()} {os.environ.get('MARQUEE_LOG_LEVEL')}"
"""

pytestmark = pytest.mark.servers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "functions/hello").mkdir(parents=True)
    (tmp_path / "functions/hello/main.py").write_text(MAIN)
    return tmp_path


def hello(workers: int = 1) -> FunctionSpec:
    return FunctionSpec(
        "Says hello.", "functions/hello", "http", True, 128, 10, Instances(0, 1), workers, 4, (), "/healthz",
        LocalFunction(8080),
    )  # fmt: skip


def get(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
        return str(response.read().decode()).split()


def started(process: Process, port: int) -> Process:
    process.start()
    process.wait_healthy(answers(f"http://127.0.0.1:{port}/healthz"))
    return process


@pytest.mark.parametrize("workers", [1, 2])
def test_one_instance(root: Path, workers: int) -> None:
    """It answers with the settings that it was given, from as many workers as asked for."""
    port = free_port()
    function = hello()
    process = instance("hello", function, root, root, root, port, {"MARQUEE_LOG_LEVEL": "DEBUG"}, workers)
    started(process, port)
    try:
        pids = {get(port)[0] for _ in range(200)}
        assert get(port)[1] == "DEBUG"
        assert len(pids) == workers
    finally:
        process.stop()
    assert not port_open(port)


def test_several_instances_share_a_port(root: Path) -> None:
    """Requests reach all; each can be asked after its health; one that is killed leaves the others."""
    shared, own = free_port(), (free_port(), free_port())
    processes = [
        started(instance_of_several(f"hello-{n}", hello(), root, root, (shared, port), {}), port)
        for n, port in enumerate(own)
    ]
    try:
        wait_for(lambda: {get(shared)[0] for _ in range(20)} == {get(port)[0] for port in own})
        processes[0].kill(signal.SIGKILL)
        wait_for(lambda: not port_open(own[0]))
        assert {get(shared)[0] for _ in range(20)} == {get(own[1])[0]}
    finally:
        for process in processes:
            process.stop()
    assert not port_open(shared)


def test_health(root: Path) -> None:
    """Only 200 is well: not an error, not a closed port."""
    port = free_port()
    assert not answers(f"http://127.0.0.1:{port}/healthz")()
    process = started(instance("hello", hello(), root, root, root, port, {}), port)
    try:
        assert answers(f"http://127.0.0.1:{port}/well")()
        assert not answers(f"http://127.0.0.1:{port}/sick")()
    finally:
        process.stop()


def test_nothing_is_left_in_the_home_directory(root: Path, tmp_path: Path) -> None:
    """The server's control socket goes where we say, not to ~/.gunicorn."""
    port = free_port()
    process = instance("hello", hello(), root, root, root / "run", port, {"HOME": str(tmp_path / "home")})
    started(process, port)
    process.stop()
    assert not (tmp_path / "home").exists()
    assert [path.name for path in (root / "run").iterdir()] == ["hello"]
