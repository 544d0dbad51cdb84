"""The walk through the app on an emulator, here on a fake device: workflows run it on Android itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from infra.android.emulator_smoke import Device, SmokeFailure, find_texts, walk

from marquee.app.texts import TEXTS

ORIGIN = "http://localhost:8085"
SCREENS = {"/": TEXTS["row_popular"], "/search": TEXTS["search_label"], "/you": TEXTS["you_id"]}


class FakeDevice:
    """An adb whose device shows the app's screens by the intents, taps and keys that it gets."""

    def __init__(self) -> None:
        self.history: list[str] = []
        self.crashes = ""
        self.follows_foreign_links = False

    def adb(self, arguments: Sequence[str]) -> str:
        match list(arguments):
            case ["install", *_]:
                return "Success\n"
            case ["shell", "am", "start", *rest]:
                self.history.append(self._path(rest[rest.index("-d") + 1] if "-d" in rest else ""))
            case ["shell", "am", "force-stop", _]:
                self.history.clear()
            case ["shell", "input", "tap", "50", "95"]:
                self.history.append("/search")
            case ["shell", "input", "keyevent", "KEYCODE_BACK"]:
                self.history.pop()
            case ["exec-out", "cat", _]:
                return self._dump()
            case ["logcat", "-d", *_]:
                return self.crashes
            case ["shell", "dumpsys", "activity"]:
                return "mResumedActivity: ActivityRecord{1 u0 app.marquee/.MainActivity t1}"
        return ""

    def _path(self, link: str) -> str:
        if link.startswith("https://example.org"):
            return "elsewhere" if self.follows_foreign_links else "/"
        return link.removeprefix(ORIGIN).removeprefix("marquee:") or "/"

    def _dump(self) -> str:
        text = SCREENS.get(self.history[-1], "Another site")
        return (
            f'UI hierarchy dumped<?xml version="1.0"?><hierarchy><node text="{text}" bounds="[0,0][100,40]"/>'
            '<node content-desc="Search" text="" bounds="[0,90][100,100]"/></hierarchy>'
        )


def test_walk_on_a_working_app_passes() -> None:
    """It ends with the app open at home."""
    device = FakeDevice()
    phone = Device(device.adb, wait_s=1, pause_s=0)
    phone.install(Path("any.apk"), 8085)
    walk(phone, ORIGIN)
    assert device.history == ["/"]


def test_walk_on_an_app_that_follows_foreign_links_fails() -> None:
    """The message has what was on the screen."""
    device = FakeDevice()
    device.follows_foreign_links = True
    with pytest.raises(SmokeFailure, match="Another site"):
        walk(Device(device.adb, wait_s=0.05, pause_s=0), ORIGIN)


def test_walk_with_a_crash_in_the_log_fails() -> None:
    """A crash counts even if the app came back."""
    device = FakeDevice()
    device.crashes = "FATAL EXCEPTION: main\nProcess: app.marquee, PID: 1"
    with pytest.raises(SmokeFailure, match="crashed"):
        walk(Device(device.adb, wait_s=1, pause_s=0), ORIGIN)


def test_find_texts_of_a_broken_dump_gives_none() -> None:
    """A screen that moves while it is read is read again."""
    assert find_texts("ERROR: could not get idle state.") == {}
    assert find_texts("<hierarchy><node") == {}
    assert find_texts('<hierarchy><node text="A" bounds="[2,4][6,8]"/></hierarchy>') == {"A": (4, 6)}
