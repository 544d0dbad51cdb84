"""Instances of functions as local processes of functions-framework, as in the cloud."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marquee.config.request_limits import MAX_REQUEST_LINE, WORKER_CLASS
from marquee.local.infra_spec import FunctionSpec
from marquee.local.process import Process

HOST = "127.0.0.1"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def function_instance(
    name: str,
    function: FunctionSpec,
    root: Path,
    logs: Path,
    sockets: Path,
    port: int,
    settings: Mapping[str, str],
    workers: int | None = None,
) -> Process:
    """Return the only instance of ``function``, run by functions-framework's command as in the cloud."""
    argv = [
        _script("functions-framework"),
        "--target",
        _target(function),
        "--source",
        _source(function, root),
    ]
    argv += ["--signature-type", function.signature, "--host", HOST, "--port", str(port)]
    environment = {
        **settings,
        "WORKERS": str(workers or function.workers),
        "THREADS": str(function.threads),
        "XDG_RUNTIME_DIR": str(_create_socket_dir(name, sockets)),
    }
    return Process(name, argv, logs / f"{name}.log", env=environment, cwd=root)


def shared_port_instance(
    name: str,
    function: FunctionSpec,
    root: Path,
    logs: Path,
    ports: tuple[int, int],
    settings: Mapping[str, str],
    workers: int | None = None,
    host: str = HOST,
) -> Process:
    """Return one of several instances that share a port; the kernel distributes connections (SO_REUSEPORT).

    functions-framework's command cannot share a port, so gunicorn runs the same app with the same options.
    ``ports`` are the shared port, and the instance's own port for its health check. The shared port is that of
    loopback, and of ``host``, too.
    """
    app = f"functions_framework:create_app({_target(function)!r}, {_source(function, root)!r}, 'http')"
    argv = [_script("gunicorn"), "--reuse-port", "--no-control-socket", "--log-level", "error"]
    address = f"[{host}]" if ":" in host else host
    for bind in dict.fromkeys((f"{HOST}:{ports[0]}", f"{HOST}:{ports[1]}", f"{address}:{ports[0]}")):
        argv += ["--bind", bind]
    argv += ["--timeout", "0"]
    argv += ["--workers", str(workers or function.workers), "--threads", str(function.threads)]
    argv += ["--worker-class", WORKER_CLASS, "--limit-request-line", str(MAX_REQUEST_LINE), app]
    return Process(name, argv, logs / f"{name}.log", env=settings, cwd=root)


def open_directly(request: str | urllib.request.Request, timeout_s: float) -> Any:
    """Send a request to a part of this machine, whatever proxy the environment names; see ``urlopen``."""
    return _DIRECT.open(request, timeout=timeout_s)


def health_check(url: str, timeout_s: float = 2.0) -> Callable[[], bool]:
    """Return a function that returns True if ``GET url`` has status 200."""

    def check() -> bool:
        try:
            with open_directly(url, timeout_s) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return check


def _target(function: FunctionSpec) -> str:
    return Path(function.source).name


def _source(function: FunctionSpec, root: Path) -> str:
    return str(root / function.source / "main.py")


def _create_socket_dir(name: str, sockets: Path) -> Path:
    folder = sockets / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)
