"""Comparison of the tables with what was produced: every record once, in its table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.known_records import ProducedRecords, known_record

from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.events.kinds import EVENT_KINDS, QUARANTINE

_match_user_id = re.compile(rb"\A[^,]*,([0-9]+),").match


@dataclass(frozen=True)
class Verification:
    """The result of a comparison.

    ``lost``: records in Kafka and in no table. ``doubled``: rows beyond one per record. ``wrong``: rows that
    differ from their record, or are in the wrong table.
    """

    acknowledged: int
    lost_by_broker: int
    """Records that Kafka acknowledged and does not hold; the embedded broker loses some when it is killed."""
    rows: int
    lost: int
    doubled: int
    wrong: int
    totals_agree: bool
    watch_sessions_agree: bool
    examples: tuple[str, ...] = ()
    """Some of the wrong rows."""

    @property
    def exact(self) -> bool:
        """True if every record is in its table once, and running totals and watch sessions agree."""
        return not (self.lost or self.doubled or self.wrong) and self.totals_agree and self.watch_sessions_agree

    def __str__(self) -> str:
        agreement = "agree" if self.totals_agree and self.watch_sessions_agree else "DISAGREE"
        return (
            f"records {self.acknowledged} (lost by the broker: {self.lost_by_broker}), rows {self.rows}, "
            f"lost = {self.lost}, doubled = {self.doubled}, "
            f"wrong = {self.wrong}, totals and watch sessions {agreement}"
        )


UserByPosition = Mapping[tuple[int, int], str]
"""The user id of each record by (partition, offset)."""
Rows = Mapping[tuple[int, int], list[tuple[str, str]]]
"""(table, user id) of each row by (partition, offset)."""


def verify(database: Database, produced: ProducedRecords, in_kafka: UserByPosition | None = None) -> Verification:
    """Compare the tables with what Kafka holds, or by default with what it acknowledged."""
    rows = _read_rows(database)
    expected = _acknowledged(produced) if in_kafka is None else in_kafka
    wrong = _find_wrong_rows(rows, produced, expected)
    held = set(expected.values())
    return Verification(
        acknowledged=len(produced.acknowledged),
        rows=sum(len(at_position) for at_position in rows.values()),
        lost_by_broker=sum(known_record(number, produced.seed).user_id not in held for number in produced.acknowledged),
        lost=sum(position not in rows for position in expected),
        doubled=sum(len(at_position) - 1 for at_position in rows.values()),
        wrong=len(wrong),
        examples=tuple(wrong[:5]),
        totals_agree=record_counts.count_all(database) == record_counts.count_records(database),
        watch_sessions_agree=_watch_sessions_agree(database),
    )


def read_user_id(raw: bytes) -> str:
    """Return the user id of a record, malformed or not."""
    match = _match_user_id(raw)
    return match[1].decode() if match else ""


def _acknowledged(produced: ProducedRecords) -> UserByPosition:
    return {position: known_record(number, produced.seed).user_id for position, number in produced.positions.items()}


def _read_rows(database: Database) -> Rows:
    rows: dict[tuple[int, int], list[tuple[str, str]]] = {}
    with database.transaction(deadline_ms=0) as cursor:
        for kind in EVENT_KINDS:
            cursor.execute(f'SELECT partition, "offset", user_id FROM {kind.table}')
            for partition, offset, user_id in cursor.fetchall():
                rows.setdefault((partition, offset), []).append((kind.table, user_id))
        cursor.execute('SELECT partition, "offset", raw FROM quarantine')
        for partition, offset, raw in cursor.fetchall():
            rows.setdefault((partition, offset), []).append((QUARANTINE, read_user_id(bytes(raw))))
    return rows


def _find_wrong_rows(rows: Rows, produced: ProducedRecords, expected: UserByPosition) -> list[str]:
    """Describe the rows whose record was not written, is at another position or belongs to another table."""
    records = [known_record(number, produced.seed) for number in range(produced.written)]
    table_of_user = {record.user_id: record.table for record in records}
    wrong = []
    for position, at_position in rows.items():
        in_kafka = expected.get(position)
        for table, user_id in at_position:
            table_expected = table_of_user.get(user_id)
            if table_expected != table or in_kafka not in (None, user_id):
                wrong.append(
                    f"{position}: user {user_id} in {table}, expected in {table_expected}; "
                    f"Kafka has user {in_kafka} there"
                )
    return wrong


# Aggregated again from all watches: the expected result of the incremental aggregation.
_AGGREGATED = """
SELECT user_id, movie_id, min(time), max(time), min(minute), max(minute) FROM watches
GROUP BY user_id, movie_id ORDER BY user_id, movie_id"""
_WATCH_SESSIONS = """
SELECT user_id, movie_id, started, ended, first_minute, last_minute FROM watch_sessions ORDER BY user_id, movie_id"""


def _watch_sessions_agree(database: Database) -> bool:
    with database.transaction(deadline_ms=0) as cursor:
        cursor.execute(_AGGREGATED)
        aggregated = cursor.fetchall()
        cursor.execute(_WATCH_SESSIONS)
        return bool(aggregated == cursor.fetchall())
