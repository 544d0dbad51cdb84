"""One instance of a function, as a process of functions-framework: what the cloud runs, run here."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from marquee.local.infra_spec import FunctionSpec
from marquee.local.process import Process

HOST = "127.0.0.1"


def instance(
    name: str,
    function: FunctionSpec,
    root: Path,
    logs: Path,
    sockets: Path,
    port: int,
    settings: Mapping[str, str],
    workers: int | None = None,
) -> Process:
    """The only instance of ``function``: functions-framework's own command, as in the cloud."""
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
        "XDG_RUNTIME_DIR": str(_sockets_of(name, sockets)),
    }
    return Process(name, argv, logs / f"{name}.log", env=environment, cwd=root)


def instance_of_several(
    name: str,
    function: FunctionSpec,
    root: Path,
    logs: Path,
    ports: tuple[int, int],
    settings: Mapping[str, str],
    workers: int | None = None,
) -> Process:
    """One of several that share a port: the kernel spreads the connections over them (SO_REUSEPORT).

    functions-framework's command cannot share a port, so gunicorn runs the same app with the same options.
    ``ports``: the shared one, and one of its own on which it can be asked after its health.
    """
    app = f"functions_framework:create_app({_target(function)!r}, {_source(function, root)!r}, 'http')"
    argv = [_script("gunicorn"), "--reuse-port", "--no-control-socket", "--log-level", "error"]
    argv += ["--bind", f"{HOST}:{ports[0]}", "--bind", f"{HOST}:{ports[1]}", "--timeout", "0"]
    argv += ["--workers", str(workers or function.workers), "--threads", str(function.threads)]
    argv += ["--limit-request-line", "0", app]
    return Process(name, argv, logs / f"{name}.log", env=settings, cwd=root)


def answers(url: str, timeout_s: float = 2.0) -> Callable[[], bool]:
    """A check of health: whether ``GET url`` gives 200."""

    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=timeout_s) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return check


def _target(function: FunctionSpec) -> str:
    return Path(function.source).name


def _source(function: FunctionSpec, root: Path) -> str:
    return str(root / function.source / "main.py")


def _sockets_of(name: str, sockets: Path) -> Path:
    folder = sockets / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)
