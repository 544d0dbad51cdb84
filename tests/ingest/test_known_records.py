"""Tests of redelivered records of topics without an id of their own: other records at known offsets are refused."""

from __future__ import annotations

import pytest
from tests.support.records import account, batch, rate, rows, watch

from marquee.db.pool import Database
from marquee.errors import TopicRecreated
from marquee.events.parser import EventParser
from marquee.ingest.store import WriteCounts, write_batch

NAMED_ID = "name:cluster/movielog"


def test_write_batch_of_a_recreated_topic_without_id_is_refused(database: Database, parser: EventParser) -> None:
    """Its records are at offsets that are written; a redelivery of the same records is none."""
    first = [watch(1, minute) for minute in range(3)] + ["malformed", rate(1, 4)]
    write_batch(database, batch(first, topic_id=NAMED_ID), parser)
    assert write_batch(database, batch([*first, account(3)], topic_id=NAMED_ID), parser) == WriteCounts(accounts=1)
    for others in (
        [watch(2, minute, time="2026-02-15T00:09:20.426") for minute in range(3)],
        ["malformed", rate(2, 3, time="2026-02-15T00:09:21")],
        [*first[:4], watch(2, 0, time="2026-02-15T00:09:20"), watch(2, 1), watch(2, 2)],
    ):
        with pytest.raises(TopicRecreated, match="under another name"):
            write_batch(database, batch(others, topic_id=NAMED_ID), parser)
    assert len(rows(database, "SELECT FROM watches")) == 3


def test_write_batch_known_offsets_without_rows_are_still_written(database: Database, parser: EventParser) -> None:
    """Rows that were deleted prove nothing, and a topic with an id of its own is never compared."""
    write_batch(database, batch([watch(1, 0)], topic_id=NAMED_ID), parser)
    write_batch(database, batch([watch(1, 0)]), parser)
    rows(
        database,
        "DELETE FROM watches WHERE topic_key = (SELECT topic_key FROM topics WHERE topic_id = %s) RETURNING 1",
        NAMED_ID,
    )
    later = [watch(1, 0, time="2026-02-15T00:09:20.426")]
    assert write_batch(database, batch(later, topic_id=NAMED_ID), parser) == WriteCounts()
    assert write_batch(database, batch(later), parser) == WriteCounts()
