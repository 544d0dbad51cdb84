"""Tests of the settings that the local system sets itself."""

from __future__ import annotations

from pathlib import Path

from marquee.config.settings import Settings
from marquee.local.local_settings import localize
from marquee.local.state_dir import StateDir


def test_localize_makes_a_new_delivery_secret_unless_one_is_set(tmp_path: Path) -> None:
    """Others on this machine cannot guess it; a secret of the environment is kept."""
    one, other = (localize(Settings(), StateDir(tmp_path)).delivery_secret for _ in range(2))
    assert one != other
    assert min(len(one), len(other)) >= 32
    assert localize(Settings(delivery_secret="x" * 32), StateDir(tmp_path)).delivery_secret == "x" * 32
