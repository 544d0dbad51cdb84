"""Smoke test of the installed app on an emulator or phone: ``python -m infra.android.emulator_smoke APK``.

The test reads the screen with uiautomator, so the package contains no test library. The demo must be running on this
machine; adb forwards a port of the device to it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.android.package_build import DEBUG_ORIGIN, PACKAGE

Adb = Callable[[Sequence[str]], str]
_DUMP = "/sdcard/marquee.xml"
WAIT_S = 120.0
# Texts that occur on one screen only. The names in the navigation bar are on every screen.
HOME, SEARCH, YOU = "^(For you|Popular|New)$", "^Title$", "^You are user"


class SmokeFailure(AssertionError):
    """A missing screen or a crash. The message lists the texts on the screen."""


def run_adb(arguments: Sequence[str]) -> str:
    """Run adb and return its output; return "" if the command fails."""
    done = subprocess.run(["adb", *arguments], capture_output=True, text=True, check=False, timeout=120)
    return done.stdout if done.returncode == 0 else ""


def find_texts(dump: str) -> dict[str, tuple[int, int]]:
    """Return the center (x, y) in pixels of each text of a uiautomator dump; of equal texts, the first."""
    found: dict[str, tuple[int, int]] = {}
    try:
        nodes = list(ElementTree.fromstring(dump[dump.index("<hierarchy") :]).iter("node"))
    except (ValueError, ElementTree.ParseError):  # The screen moved while it was read.
        return found
    for node in nodes:
        left, top, right, bottom = map(int, re.findall(r"-?\d+", node.get("bounds", "0 0 0 0")))
        for text in (node.get("text"), node.get("content-desc")):
            if text and right > left and bottom > top:
                found.setdefault(text.strip(), ((left + right) // 2, (top + bottom) // 2))
    return found


class Device:
    """A device that is controlled through adb."""

    def __init__(self, adb: Adb, wait_s: float = WAIT_S, pause_s: float = 1.0) -> None:
        self._adb, self._wait_s, self._pause_s = adb, wait_s, pause_s

    def install(self, package: Path, port: int) -> None:
        """Install the app and connect the device's port to this machine's."""
        if "Success" not in self._adb(["install", "-r", str(package)]):
            raise SmokeFailure(f"{package} cannot be installed; run: adb install -r {package}")
        self._adb(["reverse", f"tcp:{port}", f"tcp:{port}"])
        self._adb(["logcat", "--clear"])

    def start(self, link: str = "") -> None:
        """Start the app, with ``link`` if it is not empty."""
        data = ["-a", "android.intent.action.VIEW", "-d", link] if link else []
        self._adb(["shell", "am", "start", "-W", *data, "-n", f"{PACKAGE}/{PACKAGE}.MainActivity"])

    def stop(self) -> None:
        """End the app's process, as swiping it away does."""
        self._adb(["shell", "am", "force-stop", PACKAGE])

    def wait_for(self, pattern: str) -> tuple[int, int]:
        """Wait until a text on the screen matches ``pattern``; return its center (x, y) in pixels.

        Raises :class:`SmokeFailure` after the waiting time.
        """
        deadline, texts = time.monotonic() + self._wait_s, dict[str, tuple[int, int]]()
        while time.monotonic() < deadline:
            self._adb(["shell", "uiautomator", "dump", _DUMP])
            texts = find_texts(self._adb(["exec-out", "cat", _DUMP]))
            for text, center in texts.items():
                if re.search(pattern, text):
                    return center
            time.sleep(self._pause_s)
        raise SmokeFailure(f"no text matches {pattern!r}; on the screen are {sorted(texts)}")

    def tap(self, pattern: str) -> None:
        """Tap on the text that matches ``pattern``."""
        x, y = self.wait_for(pattern)
        self._adb(["shell", "input", "tap", str(x), str(y)])

    def go_back(self) -> None:
        """Press the back button."""
        self._adb(["shell", "input", "keyevent", "KEYCODE_BACK"])

    def is_in_front(self) -> bool:
        """Return True if the app has the focus."""
        return PACKAGE in "".join(re.findall(r"m\w*Resumed\w*: .*", self._adb(["shell", "dumpsys", "activity"])))

    def read_crashes(self) -> str:
        """Return the system's log entries of crashes of the app."""
        return self._adb(["logcat", "-d", "-b", "crash"])


def walk(phone: Device, origin: str) -> None:
    """Test start, shortcut, links of the app's site and of another site, search, back, leaving and returning."""
    phone.start()
    phone.wait_for(HOME)
    phone.start("marquee:/search")
    phone.wait_for(SEARCH)
    phone.start(f"{origin}/you")
    phone.wait_for(YOU)
    phone.tap("^Search$")
    phone.wait_for(SEARCH)
    phone.go_back()
    phone.wait_for(YOU)
    phone.start("https://example.org/elsewhere")  # The app must not follow links of other sites.
    phone.wait_for(HOME)
    phone.stop()
    phone.start()
    phone.wait_for(HOME)
    if PACKAGE in (crashes := phone.read_crashes()):
        raise SmokeFailure(f"the app crashed:\n{crashes}")
    if not phone.is_in_front():
        raise SmokeFailure("the app is not in front at the end")


def main(arguments: Sequence[str]) -> int:
    """Install the package in ``arguments`` and test the app; return the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    phone = Device(run_adb)
    try:
        phone.install(Path(arguments[0]), int(DEBUG_ORIGIN.rsplit(":", 1)[1]))
        walk(phone, DEBUG_ORIGIN)
    except SmokeFailure as error:
        print(error, file=sys.stderr)
        return 1
    print("the app opens, searches, goes back, follows links and starts again")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
