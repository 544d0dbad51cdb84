"""Instances of functions as local processes of gunicorn and functions-framework."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

from marquee.config.http_client import HttpClient
from marquee.config.request_limits import MAX_REQUEST_LINE, WORKER_CLASS
from marquee.errors import RequestFailed
from marquee.local.infra_spec import FunctionSpec
from marquee.local.ports import Ports
from marquee.local.process import Process
from marquee.local.shape import LOOPBACK_HOST, Shape
from marquee.local.supervision import Part


def function_instance(
    name: str,
    function: FunctionSpec,
    root: Path,
    logs: Path,
    port: int,
    settings: Mapping[str, str],
    workers: int | None = None,
    *,
    own_port: int | None = None,
    host: str = LOOPBACK_HOST,
) -> Process:
    """Return one instance of ``function``, which listens on ``port`` of loopback and of ``host``.

    gunicorn runs the app of functions-framework with the options of its command, which could not share a port. Of
    several instances on one port, the kernel distributes the connections (SO_REUSEPORT), and each has a port of its
    own for its health check.
    """
    target, source = Path(function.source).name, str(root / function.source / "main.py")
    argv = [str(Path(sys.executable).parent / "gunicorn"), "--no-control-socket", "--timeout", "0"]
    if own_port not in (None, port):
        argv.append("--reuse-port")  # Otherwise a worker that outlived its instance would get connections, unnoticed.
    address = f"[{host}]" if ":" in host else host
    # A wildcard address has loopback in it.
    shared_port = (
        [f"{address}:{port}"] if ip_address(host).is_unspecified else [f"{LOOPBACK_HOST}:{port}", f"{address}:{port}"]
    )
    own = [f"{LOOPBACK_HOST}:{own_port}"] if own_port not in (None, port) else []
    for bind in dict.fromkeys([*shared_port, *own]):
        argv += ["--bind", bind]
    argv += ["--workers", str(workers or function.workers), "--threads", str(function.threads)]
    argv += ["--worker-class", WORKER_CLASS, "--limit-request-line", str(MAX_REQUEST_LINE), "--log-level", "error"]
    argv.append(f"functions_framework:create_app({target!r}, {source!r}, {function.signature!r})")
    return Process(name, argv, logs / f"{name}.log", env=settings, cwd=root)


def function_parts(
    name: str,
    function: FunctionSpec,
    root: Path,
    logs: Path,
    port: int,
    ports: Ports,
    settings: Mapping[str, str],
    shape: Shape,
    instances: int = 1,
) -> Iterator[Part]:
    """Yield the part of each instance of ``function``; several share ``port``, and have one more each."""
    host = shape.host if function.public else LOOPBACK_HOST
    # Without base data there is no release, and `recommend` is not ready before the first one.
    ready = function.ready if function.ready and shape.base else function.health
    for number in range(1, instances + 1):
        instance = f"{name}-{number}" if instances > 1 else name
        own_port = ports.choose(f"{instance}'s health", port + number) if instances > 1 else port
        process = function_instance(
            instance, function, root, logs, port, settings, shape.workers, own_port=own_port, host=host
        )
        url = f"http://127.0.0.1:{own_port}"
        process.healthy = health_check(url + ready)
        yield Part(instance, process, port, url + function.health)


def health_check(url: str, timeout_s: float = 2.0) -> Callable[[], bool]:
    """Return a function that returns True if ``GET url`` has status 200, whatever proxy the environment names."""

    def check() -> bool:
        try:
            with closing(HttpClient(url, timeout_s=timeout_s)) as client:
                return client.request("GET").status == 200
        except RequestFailed:
            return False

    return check
