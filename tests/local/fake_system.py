"""A runner of three small parts as a program: ``python -m tests.local.fake_system STATE_DIR``.

Each part listens on a port and has a child process.
"""

import os
import sys
from pathlib import Path

from tests.local.programs import python_process

from marquee.local.ports import Ports
from marquee.local.process import port_open
from marquee.local.runner import running, wait_for_signal
from marquee.local.state_dir import PartState, StateDir, SystemState
from marquee.local.supervision import Part, Supervisor

CODE = """if True:
    import socket, subprocess, sys, time
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    server = socket.create_server(("127.0.0.1", {port}))
    print("up", flush=True)
    time.sleep(100)
"""


class FakeSystem:
    """A system of three parts with the same default port."""

    def __init__(self, state_dir: StateDir) -> None:
        self.state_dir = state_dir
        self.ports = Ports(print)
        self.supervisor = Supervisor(print, self._write_state)
        self.ready = False

    def start(self) -> None:
        self._write_state(())
        for name in ("first", "second", "third"):
            self.supervisor.start(self._create_part(name, self.ports.choose(name, 21_001)))
        self.ready = True
        self._write_state(self.supervisor.states())

    def stop(self) -> None:
        self.supervisor.stop()

    def _create_part(self, name: str, port: int) -> Part:
        process = python_process(name, CODE.format(port=port), self.state_dir.logs)
        process.healthy = lambda: port_open(port)
        return Part(name, process, port)

    def _write_state(self, parts: tuple[PartState, ...]) -> None:
        self.state_dir.write_state(SystemState(os.getpid(), self.ready, parts))


if __name__ == "__main__":
    directory = StateDir(Path(sys.argv[1]))
    try:
        with running(directory, FakeSystem(directory)):
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            wait_for_signal()
    except KeyboardInterrupt:
        sys.stdout.write("stopped\n")
