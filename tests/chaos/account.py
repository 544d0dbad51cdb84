"""What the tables hold against what was written: every line once, and where it belongs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.lines import Ledger, line

from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.events.kinds import EVENT_KINDS

_user_of = re.compile(rb"\A[^,]*,([0-9]+),").match


@dataclass(frozen=True)
class Account:
    """``lost``: in Kafka and in no table; ``doubled``: rows beyond one a line; ``wrong``: a row that
    is not its line's, or in the wrong table."""

    acknowledged: int
    lost_by_broker: int
    """Lines that Kafka acknowledged and does not hold: the embedded broker's, when it is killed."""
    rows: int
    lost: int
    doubled: int
    wrong: int
    totals_agree: bool
    watch_sessions_agree: bool
    examples: tuple[str, ...] = ()
    """Some of the rows that are wrong."""

    @property
    def exact(self) -> bool:
        """Whether every line is there once, where it belongs, and the sums made on the way agree."""
        return (
            not (self.lost or self.doubled or self.wrong) and self.totals_agree and self.watch_sessions_agree
        )

    def __str__(self) -> str:
        sums = "agree" if self.totals_agree and self.watch_sessions_agree else "DISAGREE"
        return (
            f"lines {self.acknowledged} (of which the broker lost {self.lost_by_broker}), rows {self.rows}, "
            f"lost = {self.lost}, doubled = {self.doubled}, "
            f"wrong = {self.wrong}, totals and watch sessions {sums}"
        )


Places = Mapping[tuple[int, int], str]
"""The user id of each line by (partition, offset)."""
Rows = Mapping[tuple[int, int], list[tuple[str, str]]]
"""(table, user id) of each row by (partition, offset)."""


def account(database: Database, ledger: Ledger, in_kafka: Places | None = None) -> Account:
    """Count as it stands, against what Kafka holds; without it, against what Kafka said that it holds."""
    rows = _rows(database)
    places = _acknowledged(ledger) if in_kafka is None else in_kafka
    wrong = _wrong(rows, ledger, places)
    held = set(places.values())
    return Account(
        acknowledged=len(ledger.safe),
        rows=sum(len(found) for found in rows.values()),
        lost_by_broker=sum(line(number, ledger.seed).user_id not in held for number in ledger.safe),
        lost=sum(place not in rows for place in places),
        doubled=sum(len(found) - 1 for found in rows.values()),
        wrong=len(wrong),
        examples=tuple(wrong[:5]),
        totals_agree=record_counts.count_all(database) == record_counts.count_records(database),
        watch_sessions_agree=_watch_sessions_agree(database),
    )


def user_of(raw: bytes) -> str:
    """The user id of a line, damaged or not."""
    user = _user_of(raw)
    return user[1].decode() if user else ""


def _acknowledged(ledger: Ledger) -> Places:
    return {place: line(number, ledger.seed).user_id for place, number in ledger.places.items()}


def _rows(database: Database) -> Rows:
    rows: dict[tuple[int, int], list[tuple[str, str]]] = {}
    with database.transaction(deadline_ms=0) as cursor:
        for kind in EVENT_KINDS:
            cursor.execute(f'SELECT partition, "offset", user_id FROM {kind.table}')
            for partition, offset, user_id in cursor.fetchall():
                rows.setdefault((partition, offset), []).append((kind.table, user_id))
        cursor.execute('SELECT partition, "offset", raw FROM quarantine')
        for partition, offset, raw in cursor.fetchall():
            rows.setdefault((partition, offset), []).append(("quarantine", user_of(bytes(raw))))
    return rows


def _wrong(rows: Rows, ledger: Ledger, places: Places) -> list[str]:
    """Rows whose line was never written, or is elsewhere, or belongs into another table."""
    fates = {(known := line(number, ledger.seed)).user_id: known.table for number in range(ledger.written)}
    wrong = []
    for place, found in rows.items():
        expected = places.get(place)
        for table, user_id in found:
            if fates.get(user_id) != table or expected not in (None, user_id):
                fate = f"{fates.get(user_id)}; Kafka has {expected} there"
                wrong.append(f"{place}: user {user_id} in {table}, not {fate}")
    return wrong


# Folded again from all that was watched: what the running fold must have come to.
_FOLDED = """
SELECT user_id, movie_id, min(time), max(time), min(minute), max(minute) FROM watches
GROUP BY user_id, movie_id ORDER BY user_id, movie_id"""
_WATCH_SESSIONS = """
SELECT user_id, movie_id, started, ended, first_minute, last_minute FROM watch_sessions ORDER BY user_id, movie_id"""


def _watch_sessions_agree(database: Database) -> bool:
    with database.transaction(deadline_ms=0) as cursor:
        cursor.execute(_FOLDED)
        folded = cursor.fetchall()
        cursor.execute(_WATCH_SESSIONS)
        return bool(folded == cursor.fetchall())
