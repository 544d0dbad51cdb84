"""A runner of three small parts, as a program of its own: ``python -m tests.local.fake_system HOME``.

Each part holds a port and has a child of its own.
"""

import os
import sys
from pathlib import Path

from tests.local.programs import python

from marquee.local.ports import Ports
from marquee.local.process import port_open
from marquee.local.runner import running, wait_for_signal
from marquee.local.state_dir import PartState, StateDir, SystemState
from marquee.local.supervision import OneProcess, Part, Supervisor

CODE = """if True:
    import socket, subprocess, sys, time
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    server = socket.create_server(("127.0.0.1", {port}))
    print("up", flush=True)
    time.sleep(100)
"""


class FakeSystem:
    def __init__(self, home: StateDir) -> None:
        self.home = home
        self.ports = Ports(print)
        self.supervisor = Supervisor(print, self._write)
        self.ready = False

    def start(self) -> None:
        self._write(())
        for name, usual in (("first", 21_001), ("second", 21_001), ("third", 21_001)):
            port = self.ports.choose(name, usual)
            process = python(name, CODE.format(port=port), self.home.logs)
            program = OneProcess(process, lambda port=port: port_open(port))
            self.supervisor.start(Part(name, program, port))
        self.ready = True
        self._write(self.supervisor.states())

    def stop(self) -> None:
        self.supervisor.stop()

    def _write(self, parts: tuple[PartState, ...]) -> None:
        self.home.write_state(SystemState(os.getpid(), self.ready, parts))


if __name__ == "__main__":
    home = StateDir(Path(sys.argv[1]))
    try:
        with running(home, FakeSystem(home)):
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            wait_for_signal()
    except KeyboardInterrupt:
        sys.stdout.write("stopped\n")
