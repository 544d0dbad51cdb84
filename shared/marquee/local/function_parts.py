"""The parts of a function: its instances with their ports and health checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from marquee.local.function_process import function_instance, health_check, shared_port_instance
from marquee.local.infra_spec import FunctionSpec
from marquee.local.ports import Ports
from marquee.local.process import Process
from marquee.local.shape import Shape
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
    if instances == 1:
        process = function_instance(
            name, function, root, state_dir.logs, state_dir.sockets, port, settings, shape.workers
        )
        yield _part(name, function, process, port, port, shape)
        return
    for number in range(1, instances + 1):
        instance = f"{name}-{number}"
        own_port = ports.choose(f"{instance}'s health", port + number)
        process = shared_port_instance(
            instance, function, root, state_dir.logs, (port, own_port), settings, shape.workers
        )
        yield _part(instance, function, process, port, own_port, shape)


def _part(name: str, function: FunctionSpec, process: Process, port: int, own_port: int, shape: Shape) -> Part:
    url = f"http://127.0.0.1:{own_port}"
    # Without base data there is no release, and `recommend` is not ready before the first one.
    ready = function.ready if function.ready and shape.base else function.health
    return Part(name, ProcessProgram(process, health_check(url + ready)), port, url + function.health)
