"""Rating scales of the event log: 1 to 5 or 10, 0 to 5 or 10, and half stars."""

from __future__ import annotations

from datetime import UTC

import pytest
from tests.events.json_examples import rating
from tests.support.records import rate

from marquee.events.event import Rating
from marquee.events.json_records import JsonRecordParser
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.events.parser import EventParser


@pytest.mark.parametrize(
    ("low", "high", "valid", "invalid"),
    [
        (0.5, 5, ["0.5", "1", "3.5", "4.0", "5"], ["0", "3.7", "5.5", "10"]),
        (0, 10, ["0", "7", "10"], ["3.5", "4.0", "11", "-1"]),
        (1, 5, ["1", "5"], ["0", "3.5", "4.0", "6", "10"]),
    ],
    ids=["half stars", "0 to 10", "stars"],
)
def test_parsers_take_the_ratings_of_the_scale_only(
    low: float, high: float, valid: list[str], invalid: list[str]
) -> None:
    """As text and as JSON; whole numbers of JSON may have a fraction of zero."""
    text, document = EventParser(UTC, LogScale(low, high)), JsonRecordParser(LogScale(low, high))
    json_record = rating("1", rating=0.25)
    for number in valid:
        for event in (
            text.parse(rate(7, 1).replace("=1", f"={number}")),
            document.parse(json_record.replace("0.25", number)),
        ):
            assert isinstance(event, Rating), number
            assert event.rating == float(number)
    for number in invalid:
        assert not isinstance(text.parse(rate(7, 1).replace("=1", f"={number}")), Rating), number
        if number != "4.0":
            assert not isinstance(document.parse(json_record.replace("0.25", number)), Rating), number


@pytest.mark.parametrize("scale", [FIVE_STARS, LogScale(1, 10), LogScale(0.5, 5), LogScale(0, 10)], ids=str)
def test_scale_lists_holds_reads_and_rounds_to_its_ratings(scale: LogScale) -> None:
    """Each rating is its own nearest one, and values beyond the ends are the ends."""
    assert (scale.ratings[0], scale.ratings[-1]) == scale
    assert all(scale.holds(given) and scale.nearest(given) == given for given in scale.ratings)
    assert [scale.read(f"{given:g}") for given in scale.ratings] == scale.ratings
    assert (scale.nearest(-3), scale.nearest(99)) == scale
    assert [scale.read(text) for text in ("", "4.25", "1e0", "²", "99", "-1")] == [None] * 6
