"""The addresses and commands that a started system prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from marquee.config.settings import Settings
from marquee.local.shape import Shape
from marquee.local.start_hints import format_hints
from marquee.local.state_dir import StateDir
from marquee.local.system import LocalSystem

ROOT = Path(__file__).parents[2]
CALLERS = "phone:read:" + "0" * 64
PORTS = {"recommend": 8087, "dashboards": 3001, "app": 8085}


class StartedSystem(LocalSystem):
    """A system whose parts have the ports of ``PORTS``."""

    def url(self, function: str) -> str:
        return f"http://127.0.0.1:{PORTS[function]}"


def make_hints(directory: Path, shape: Shape) -> str:
    settings = Settings(api_keys=CALLERS if shape.is_open else "")
    system = StartedSystem(ROOT, StateDir(directory), settings, lambda _: None, shape)
    system.root = directory.parent
    return format_hints(system)


def test_hints_name_each_page_with_its_port(tmp_path: Path) -> None:
    """The playground comes first; a part on another port than usual is named with that one."""
    lines = make_hints(tmp_path, Shape(app=True)).splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["playground", "http://127.0.0.1:3001/play"],
        ["app", "http://127.0.0.1:8085/"],
        ["dashboards", "http://127.0.0.1:3001/"],
        ["API", "http://127.0.0.1:8087/docs"],
    ]
    assert "  curl http://127.0.0.1:8087/recommend/42" in lines


def test_hints_without_app_name_none(tmp_path: Path) -> None:
    """`local up` has no app."""
    assert "app  " not in make_hints(tmp_path, Shape())


def test_hints_open_host_is_the_address_of_the_app(tmp_path: Path) -> None:
    """A phone reaches the app at the address of ``--host``."""
    assert "http://0.0.0.0:8085/" in make_hints(tmp_path, Shape(app=True, host="0.0.0.0"))


def test_hints_send_a_key_where_callers_need_one(tmp_path: Path) -> None:
    """Without one, the commands would be refused."""
    hints = make_hints(tmp_path, Shape(host="0.0.0.0"))
    assert '  curl -H "Marquee-Key: $KEY" http://127.0.0.1:8087/recommend/42' in hints.splitlines()


def test_hints_commands_are_short_where_they_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own state directory needs no option; another one is quoted, relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    assert "marquee local status" in make_hints(tmp_path / ".local", Shape())
    assert "marquee local --state-dir 'my data' status" in make_hints(tmp_path / "my data", Shape())
