"""Which offset to read on from, by what was written and what Kafka still has."""

from __future__ import annotations

import pytest

from marquee.bridge.offset_reset import OffsetReset, first_unwritten, missing_after_retention
from marquee.db.written_offsets import OffsetRanges


@pytest.mark.parametrize(
    ("written", "oldest", "missing", "lost"),
    [
        ((), 0, 0, 0),  # An empty database: everything.
        ((), 70, 70, 0),  # And what was before its time is nobody's loss.
        (((0, 50),), 0, 50, 0),
        (((0, 50), (60, 90)), 0, 50, 0),  # From the first hole on; what is known beyond it is written once.
        (((0, 50), (60, 90)), 70, 90, 10),  # The hole is in Kafka no longer.
        (((0, 50),), 70, 70, 20),
        (((40, 50),), 40, 50, 0),  # The bridge began in the middle of the log.
        (((40, 50), (50, 55)), 45, 55, 0),
    ],
)
def test_where_to_read_on(written: OffsetRanges, oldest: int, missing: int, lost: int) -> None:
    """The first offset that is in Kafka and not in the ledger; and what is in neither."""
    assert (first_unwritten(written, oldest), missing_after_retention(written, oldest)) == (missing, lost)


def test_what_is_read_again() -> None:
    """What lies between the new place and the old one; before the first commit nothing was read."""
    assert OffsetReset(0, 90, 50, 0).redelivered == 40
    assert OffsetReset(0, None, 50, 0).redelivered == 0
