"""The choice of ports: systems that start at once, parts that restart, and runners that are killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from marquee.local.port_holds import hold_port, release_port
from marquee.local.ports import Ports
from marquee.local.process import free_port

# Chooses ports in another process, and holds them until it is killed. No server listens on them.
_CHOOSER = """if True:
    import sys
    from marquee.local.ports import Ports
    ports = Ports(lambda text: None)
    print(*[ports.choose("part", int(default)) for default in sys.argv[1:]], flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_system(*defaults: int) -> Iterator[tuple[int, ...]]:
    """Yield the ports that a system in another process chose; kill it at the end."""
    argv = [sys.executable, "-c", _CHOOSER, *map(str, defaults)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield tuple(map(int, process.stdout.readline().split()))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def default() -> int:
    """A free port without a holder."""
    port = free_port()
    release_port(port)
    return port


def test_choose_port_of_a_system_that_does_not_listen_is_not_taken(default: int) -> None:
    """Of two systems started at once, or while a part of one restarts, each has its own ports."""
    told: list[str] = []
    with other_system(default) as (theirs,):
        ports = Ports(told.append)
        ours = ports.choose("kafka", default)
        ports.release()
    assert theirs == default
    assert ours != default
    assert told == [f"port {default} is in use: kafka listens on {ours}"]


def test_choose_after_the_other_system_was_killed_has_the_default_port(default: int) -> None:
    """A killed runner holds nothing."""
    with other_system(default):
        pass
    ports = Ports(lambda text: pytest.fail(text))
    assert ports.choose("kafka", default) == default
    ports.release()


def test_choose_after_release_has_the_same_ports(default: int) -> None:
    """A system that was stopped leaves its ports to the next one; before, two parts have distinct ports."""
    chosen = []
    for _ in range(2):
        ports = Ports(lambda _: None)
        chosen.append([ports.choose(name, default) for name in ("first", "second")])
        ports.release()
    assert chosen[0] == chosen[1]
    assert chosen[0][0] == default != chosen[0][1]


def test_free_port_is_held_against_other_processes() -> None:
    """A port that a test was given goes to no system and no other test before the test's process ends."""
    ours = free_port()
    assert not hold_port(ours)
    with other_system(ours) as (theirs,):
        assert theirs != ours
