"""Hours that a run computes again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from marquee.monitoring.open_hours import HOUR, LATE, is_due

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WINDOW = timedelta(hours=1)


@pytest.mark.parametrize(
    ("hours_ago", "computed", "due"),
    [
        (5, None, True),
        (2, NOW, True),
        (5, NOW - timedelta(minutes=30), False),
        (5, NOW + timedelta(days=365), True),
        (48, NOW - 47 * HOUR, True),
        (48, NOW - 48 * HOUR + HOUR + WINDOW + LATE, False),
    ],
)
def test_is_due_until_late_records_have_arrived(hours_ago: int, computed: datetime | None, due: bool) -> None:
    """An hour is final after its windows and late records, by a clock that can have seen them."""
    assert is_due(NOW - hours_ago * HOUR, computed, WINDOW, NOW) is due
