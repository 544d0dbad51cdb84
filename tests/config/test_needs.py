"""Settings of each part: declared once, enforced at run time, and generated for Terraform."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from docs import generate

from marquee.config.needs import NEEDS, PROVIDED
from marquee.config.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("part", sorted(NEEDS))
def test_needs_names_are_settings(part: str) -> None:
    """No part needs a setting that does not exist, and none is listed twice."""
    assert set(NEEDS[part]) <= {f.name for f in fields(Settings)}
    assert len(set(NEEDS[part])) == len(NEEDS[part])


def test_needs_parts_are_functions_and_jobs() -> None:
    """Every folder of functions/ and jobs/ is declared; the scheduler passes settings on to its jobs."""
    folders = {path.parent.name for path in ROOT.glob("[fj]*s/*/main.py")}
    assert set(NEEDS) == folders - {"scheduler"}


def test_needs_every_setting_is_read() -> None:
    """Settings that no part needs are those of the command line."""
    read = {name for names in NEEDS.values() for name in names}
    assert {f.name for f in fields(Settings)} - read == {"slack_webhook"}


def test_provided_settings_are_needed() -> None:
    """Terraform provides no setting that no part reads."""
    assert set(PROVIDED) <= {name for names in NEEDS.values() for name in names}


def test_from_mapping_with_needs_has_no_other_settings() -> None:
    """A setting that the part does not declare raises, instead of silently being the default."""
    settings = Settings.from_mapping({"MARQUEE_RATING_SCALE": "1-10"}, ["rating_scale", "log_level"])
    assert (settings.rating_scale, settings.log_level) == ("1-10", "INFO")
    with pytest.raises(AttributeError, match="time_zone is not among the settings that this part needs"):
        settings.time_zone  # noqa: B018
    assert repr(settings) == "Settings(rating_scale='1-10', log_level='INFO')"
    assert settings.environment() == {"MARQUEE_RATING_SCALE": "1-10"}


def test_needs_file_is_current() -> None:
    """`make docs` writes infra/needs.json."""
    assert (ROOT / "infra/needs.json").read_text() == generate.needs_file()
