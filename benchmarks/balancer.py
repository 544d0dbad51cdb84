"""Load balancer of the Compose deployment in front of one instance, for the overload benchmark."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.serving import ROOT, Instance, scratch
from marquee.local.function_process import health_check
from marquee.local.process import free_port

CONFIG = ROOT / "infra/compose/haproxy.cfg"
_READY_S = 30


def find_haproxy() -> str | None:
    """Return the path of haproxy; None if it is not installed."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


@contextmanager
def run_balancer(instance: Instance) -> Iterator[int]:
    """Run haproxy with Compose's configuration in front of one instance, and provide its port.

    Raises ``RuntimeError`` if haproxy is not installed or does not become ready.
    """
    haproxy, port = find_haproxy(), free_port()
    if haproxy is None:
        raise RuntimeError("haproxy is not installed: apt-get install haproxy")
    text = CONFIG.read_text().replace("bind :8080", f"bind 127.0.0.1:{port}")
    text = text.replace("recommend-1:8080", f"127.0.0.1:{instance.port}")
    file = scratch() / "haproxy.cfg"
    file.write_text(re.sub(r"\n *server recommend-[23] .*", "", text))
    process = subprocess.Popen([haproxy, "-db", "-q", "-f", str(file)])
    try:
        _wait_until_ready(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(port: int) -> None:
    ends = time.monotonic() + _READY_S
    is_ready = health_check(f"http://127.0.0.1:{port}/recommend/1", 5)
    while time.monotonic() < ends:
        if is_ready():
            return
        time.sleep(0.05)
    raise RuntimeError(f"haproxy did not answer on port {port} within {_READY_S} s; check its configuration")
