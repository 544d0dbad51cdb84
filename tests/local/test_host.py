"""The public functions on another address of the machine: who may call, and what stays on loopback."""

from __future__ import annotations

import argparse
import urllib.request
from pathlib import Path

import pytest
from tests.local.test_function_process import hello_spec, root, start_process  # noqa: F401

from marquee.cli import local_commands
from marquee.config.access import create_access
from marquee.config.settings import Settings
from marquee.errors import CallRefused, SettingsError
from marquee.local.function_process import function_instance, function_parts
from marquee.local.infra_spec import read_functions
from marquee.local.local_settings import admit_own_parts
from marquee.local.ports import Ports
from marquee.local.process import Process, free_port
from marquee.local.shape import Shape

ROOT = Path(__file__).parents[2]
CALLERS = "phone:read:" + "0" * 64


def parse_host(*words: str) -> str:
    parser = argparse.ArgumentParser()
    local_commands.add_arguments(parser)
    return str(parser.parse_args(words).host)


@pytest.mark.parametrize("action", ["up", "demo"])
def test_host_is_an_address_of_this_machine(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Loopback by default; what the machine cannot listen on is refused before anything starts."""
    assert parse_host(action) == "127.0.0.1"
    assert parse_host(action, "--host", "0.0.0.0") == "0.0.0.0"
    for wrong in ("203.0.113.1", "my-laptop", "127.0.0.1:8080"):
        with pytest.raises(SystemExit):
            parse_host(action, "--host", wrong)
        assert f"'{wrong}' is not an IP address of this machine" in capsys.readouterr().err


def test_admit_own_parts_open_system_without_keys_is_refused() -> None:
    """The sentence names the setting and the command."""
    shape = Shape(host="0.0.0.0")
    for keys in ("", "-"):
        with pytest.raises(SettingsError, match=r"MARQUEE_API_KEYS is not set\. Make one with `marquee keys create"):
            admit_own_parts(Settings(api_keys=keys), shape)
    assert admit_own_parts(Settings(), Shape()) == Settings()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_admit_own_parts_system_with_keys_admits_its_own_parts(host: str) -> None:
    """The app, the simulator and the playground call as a caller of their own; others without a key are refused."""
    settings = admit_own_parts(Settings(api_keys=CALLERS), Shape(host=host))
    access, environ = create_access(settings), {"SERVER_NAME": host, "REMOTE_ADDR": "192.0.2.7"}
    own = access.admit({**environ, "HTTP_MARQUEE_KEY": settings.recommend_key}, "write")
    assert own.name == "parts-of-this-system"
    with pytest.raises(CallRefused):
        access.admit(environ, "read")


@pytest.mark.servers
@pytest.mark.parametrize("host", ["127.0.0.2", "0.0.0.0"])
def test_function_instance_listens_on_loopback_and_on_the_host(root: Path, host: str) -> None:  # noqa: F811
    """The same port on both addresses."""
    port = free_port()
    process = function_instance("hello", hello_spec(), root, root, port, {}, host=host)
    try:
        start_process(process, port)
        for address in ("127.0.0.1", "127.0.0.2"):
            with urllib.request.urlopen(f"http://{address}:{port}/healthz", timeout=10) as response:
                assert response.status == 200
    finally:
        process.stop()


def test_function_parts_only_public_functions_are_opened(tmp_path: Path) -> None:
    """`ingest` and `monitor` listen on loopback alone."""
    shape, opened = Shape(host="0.0.0.0"), set()
    for name, function in read_functions(ROOT).items():
        for part in function_parts(name, function, ROOT, tmp_path, 8000, Ports(print), {}, shape):
            assert isinstance(part.program, Process)
            if "0.0.0.0:8000" in part.program.argv:
                opened.add(name)
    assert opened == {"recommend", "events", "app"}
