"""The sources of ``local up``: another Kafka, other ratings, and the settings that are overridden."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from marquee.cli import local_commands
from marquee.config.settings import Settings
from marquee.errors import MarqueeError
from marquee.local.process import inherited_environment
from marquee.local.shape import Shape
from marquee.local.state_dir import StateDir
from marquee.local.system import LocalSystem

ROOT = Path(__file__).parents[2]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    local_commands.add_arguments(parser)
    return parser.parse_args(words)


def system(tmp_path: Path, settings: Settings, shape: Shape) -> LocalSystem:
    return LocalSystem(ROOT, StateDir(tmp_path), settings, lambda _: None, shape)


def test_overridden_settings_are_all_named() -> None:
    """A setting that the local system replaces is never ignored silently."""
    settings = Settings(
        base_data="mine", base_fraction=0.5, release_refresh_s=9.0, kafka_bootstrap="kafka:9092",
        kafka_options=(("a", "b"),), kafka_topic="log", rating_scale="1-10",
    )  # fmt: skip
    names = local_commands.overridden_settings(settings, parse("demo"))
    assert set(names) == {
        "base_data",
        "base_fraction",
        "release_refresh_s",
        "kafka_bootstrap",
        "kafka_options",
    }
    names = local_commands.overridden_settings(settings, parse("up", "--kafka", "kafka:9092", "--topic", "t"))
    assert "kafka_topic" in names
    assert "kafka_options" not in names
    assert local_commands.overridden_settings(Settings(), parse("up")) == []


def test_up_variables_of_libpq_are_ignored_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PGSSLMODE or PGHOSTADDR of the shell would send every part to another server, or to none."""
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert not {"PGHOSTADDR", "PGSSLMODE"} & inherited_environment().keys()
    monkeypatch.setattr(local_commands, "_run_until_interrupted", lambda *_: 0)
    assert local_commands.run(parse("--state-dir", str(tmp_path), "up", "--no-base"), Settings()) == 0
    assert not {"PGHOSTADDR", "PGSSLMODE"} & os.environ.keys()
    assert "PGSSLMODE is set, but ignored" in capsys.readouterr().out


def test_system_other_kafka_keeps_the_options_of_the_environment(tmp_path: Path) -> None:
    """The embedded broker's session timeout is shorter than a real Kafka admits."""
    settings = Settings(kafka_options=(("fetch.min.bytes", "1"),))
    assert system(tmp_path, settings, Shape(kafka="kafka:9092")).settings.kafka_options == settings.kafka_options
    assert dict(system(tmp_path, settings, Shape()).settings.kafka_options)["session.timeout.ms"] == "2000"


def test_system_ratings_replace_movielens(tmp_path: Path) -> None:
    """All of one's own ratings are learned from; MovieLens keeps a part for the simulator; or there is no base."""
    own = system(tmp_path, Settings(), Shape(ratings=tmp_path)).settings
    assert (own.base_data, own.base_fraction) == (str(tmp_path), 1.0)
    default = system(tmp_path, Settings(), Shape()).settings
    assert (default.base_data, default.base_fraction) == (str(ROOT / "data/movielens-100k"), 0.8)
    assert system(tmp_path, Settings(), Shape(base=False)).settings.base_data == ""


def test_up_directory_without_ratings_is_reported(tmp_path: Path) -> None:
    """Before anything is started."""
    arguments = parse("--state-dir", str(tmp_path), "up", "--ratings", str(tmp_path))
    with pytest.raises(MarqueeError, match=r"has no ratings\.csv"):
        local_commands.run(arguments, Settings())


def test_up_ratings_and_no_base_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """One of them only."""
    with pytest.raises(SystemExit):
        parse("up", "--ratings", "x", "--no-base")
    assert "not allowed with" in capsys.readouterr().err
