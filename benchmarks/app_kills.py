"""Use of the app while its parts are killed with SIGKILL: analytics events and ratings of devices that retry."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.app_parts import AppParts
from benchmarks.ingest_path import ROOT
from marquee.local.function_process import function_instance
from marquee.local.infra_spec import read_functions
from marquee.local.process import Process, port_open

_ACTIONS = 25
"""Actions of one device, fewer than the app's limit of writes a minute."""
_SHORTEST_S, _LONGEST_S = 0.2, 1.0
"""Time between the return of a part and the next kill."""
_DEADLINE_S = 120.0
Restart = Callable[[], None]


def app_process(directory: Path, port: int, settings: dict[str, str]) -> Process:
    """Return the app as a process that can be killed and started again; it is not started."""
    environment = settings | {"PYTHONPATH": str(ROOT / "shared")}
    return function_instance("app", read_functions(ROOT)["app"], ROOT, directory, port, environment)


def restart_function(process: Process, port: int) -> None:
    """Kill a function, and start it again."""
    process.kill()
    process.start()
    process.wait_healthy(lambda: port_open(port))


@dataclass
class RetryingDevice:
    """A device as the app's script behaves: an event stays until the server has confirmed it."""

    port: int
    cookie: str = ""
    session: str = field(default_factory=lambda: str(uuid.uuid4()))
    seq: int = 0
    waiting: list[dict[str, object]] = field(default_factory=list)

    def join(self) -> None:
        """Get an account, and consent to analytics."""
        repeat(self._get_cookie)
        repeat(lambda: self.post("/you/consent", "analytics=1") == 303)

    def track(self) -> None:
        """Keep a new event with the next number."""
        self.seq += 1
        at = datetime.now(UTC).isoformat()
        event = {"id": str(uuid.uuid4()), "session": self.session, "seq": self.seq, "name": "searched", "at": at}
        self.waiting.append(event)

    def flush(self) -> bool:
        """Send what waits; return True if the server has all of it."""
        if self.waiting:
            batch = {"sent": datetime.now(UTC).isoformat(), "app": "browser", "events": self.waiting[:100]}
            if self.post("/api/events", json.dumps(batch)) == 202:
                del self.waiting[:100]
        return not self.waiting

    def post(self, path: str, body: str) -> int:
        """Send a request as a page of the app does; return its status, or 0 if there was no answer."""
        return self._send("POST", path, body)[0]

    def _get_cookie(self) -> bool:
        self.cookie = self._send("GET", "/you")[1]
        return bool(self.cookie)

    def _send(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Cookie": self.cookie, "Sec-Fetch-Site": "same-origin"})
            answer = connection.getresponse()
            answer.read()
            return answer.status, (answer.getheader("Set-Cookie") or "").split(";")[0]
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()


@dataclass(frozen=True)
class KillCounts:
    """Numbers of kills, of events that devices numbered, of their documents, of distinct ones, and of ratings."""

    kills: int
    numbered: int
    stored: int
    different: int
    rated: int


def use_through_kills(
    parts: AppParts, port: int, ratings: Sequence[str], restarts: Sequence[Restart], kills: int, seed: int = 18
) -> KillCounts:
    """Use the app on ``port`` until each of ``restarts`` in turn has killed its part, ``kills`` times in all.

    ``ratings`` are paths of ratings. A device repeats a rating until it is confirmed, so a kill may let one be logged
    twice, as two taps would be. Raises ``TimeoutError`` if the app does not come back.
    """
    killer = _Killer(restarts, kills, random.Random(seed))
    devices: list[RetryingDevice] = []
    rated = 0
    killer.start()
    while killer.is_alive() or not devices:
        devices.append(RetryingDevice(port))
        devices[-1].join()
        for action in range(_ACTIONS):
            devices[-1].track()
            devices[-1].flush()
            path = ratings[(len(devices) * _ACTIONS + action) % len(ratings)]
            repeat(lambda: devices[-1].post(path, "rating=5") == 303)  # noqa: B023  # It is called at once.
            rated += 1
            if not killer.is_alive():
                break
    killer.join()
    if killer.failure:
        raise killer.failure
    for device in devices:
        repeat(device.flush)
    rows = list(parts.documents.database["events"].find({}, {"session": 1, "seq": 1}))
    different = {(row["session"], row["seq"]) for row in rows}
    return KillCounts(killer.done, sum(device.seq for device in devices), len(rows), len(different), rated)


class _Killer(threading.Thread):
    """A thread that kills the parts in turn; ``failure`` is the error that ended it, if any."""

    def __init__(self, restarts: Sequence[Restart], kills: int, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self._restarts, self._kills, self._rng = restarts, kills, rng
        self.done = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            for number in range(self._kills):
                time.sleep(self._rng.uniform(_SHORTEST_S, _LONGEST_S))
                self._restarts[number % len(self._restarts)]()
                self.done += 1
        except Exception as error:
            self.failure = error


def repeat(attempt: Callable[[], bool]) -> None:
    """Repeat an attempt until it succeeds. Raises ``TimeoutError``."""
    deadline = time.monotonic() + _DEADLINE_S
    while not attempt():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the app did not come back within {_DEADLINE_S:g} s")
        time.sleep(0.05)
