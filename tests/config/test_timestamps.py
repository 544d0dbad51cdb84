"""Timestamps on the command line."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from marquee.config.timestamps import timestamp, with_default_zone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-14", datetime(2026, 2, 13, 23, tzinfo=UTC)),
        ("2026-02-14T09:00", datetime(2026, 2, 14, 8, tzinfo=UTC)),
        ("2026-02-14T09:00:20Z", datetime(2026, 2, 14, 9, 0, 20, tzinfo=UTC)),
        ("2026-07-14T09:00+05:30", datetime(2026, 7, 14, 3, 30, tzinfo=UTC)),
    ],
)
def test_with_default_zone_naive_time_gets_the_zone(text: str, expected: datetime) -> None:
    """A time without a zone is in the default zone; any other keeps its own."""
    assert with_default_zone(timestamp(text), ZoneInfo("Europe/Berlin")) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "14.2.2026"])
def test_timestamp_invalid_text_is_refused(text: str) -> None:
    """The error shows the text and valid examples."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a time in ISO 8601, such as 2026-02-14,") as error:
        timestamp(text)
    assert str(error.value).startswith(repr(text))
