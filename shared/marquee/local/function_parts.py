"""The parts of a function: its instances with their ports and health checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from marquee.local.function_process import function_instance, health_check, shared_port_instance
from marquee.local.infra_spec import FunctionSpec
from marquee.local.ports import Ports
from marquee.local.process import Process
from marquee.local.shape import LOOPBACK_HOST, Shape
from marquee.local.state_dir import StateDir
from marquee.local.supervision import Part, ProcessProgram


def function_parts(
    name: str,
    function: FunctionSpec,
    root: Path,
    state_dir: StateDir,
    port: int,
    ports: Ports,
    settings: Mapping[str, str],
    shape: Shape,
    instances: int = 1,
) -> Iterator[Part]:
    """Yield the part of each instance of ``function``; several share ``port``, and have one more each."""
    host = shape.host if function.public else LOOPBACK_HOST
    if instances == 1 and host == LOOPBACK_HOST:
        process = function_instance(
            name, function, root, state_dir.logs, state_dir.sockets, port, settings, shape.workers
        )
        yield _part(name, function, process, port, port, shape)
        return
    for number in range(1, instances + 1):
        instance = f"{name}-{number}" if instances > 1 else name
        own_port = ports.choose(f"{instance}'s health", port + number) if instances > 1 else port
        process = shared_port_instance(
            instance, function, root, state_dir.logs, (port, own_port), settings, shape.workers, host
        )
        yield _part(instance, function, process, port, own_port, shape)


def _part(name: str, function: FunctionSpec, process: Process, port: int, own_port: int, shape: Shape) -> Part:
    url = f"http://127.0.0.1:{own_port}"
    # Without base data there is no release, and `recommend` is not ready before the first one.
    ready = function.ready if function.ready and shape.base else function.health
    return Part(name, ProcessProgram(process, health_check(url + ready)), port, url + function.health)
