"""Tests of the first offset to read again, from the ledger and from what Kafka still holds."""

from __future__ import annotations

import pytest

from marquee.bridge.offset_reset import OffsetReset, first_unwritten, missing_after_retention
from marquee.db.written_offsets import OffsetRanges


@pytest.mark.parametrize(
    ("written", "oldest", "missing", "lost"),
    [
        ((), 0, 0, 0),  # An empty database: everything.
        ((), 70, 70, 0),  # Records from before its first one are not lost.
        (((0, 50),), 0, 50, 0),
        (((0, 50), (60, 90)), 0, 50, 0),  # From the first gap on; records after it are written once.
        (((0, 50), (60, 90)), 70, 90, 10),  # Kafka no longer holds the gap.
        (((0, 50),), 70, 70, 20),
        (((40, 50),), 40, 50, 0),  # The bridge began in the middle of the log.
        (((40, 50), (50, 55)), 45, 55, 0),
    ],
)
def test_first_unwritten_is_first_offset_missing_in_ledger(
    written: OffsetRanges, oldest: int, missing: int, lost: int
) -> None:
    """The first offset in Kafka that is not written, and the number of offsets in neither."""
    assert (first_unwritten(written, oldest), missing_after_retention(written, oldest)) == (missing, lost)


def test_redelivered_counts_offsets_up_to_commit() -> None:
    """Before the first commit nothing was read, so nothing is read again."""
    assert OffsetReset(0, 90, 50, 0).redelivered == 40
    assert OffsetReset(0, None, 50, 0).redelivered == 0
