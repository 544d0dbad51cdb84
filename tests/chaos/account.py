"""What the tables hold against what was written: every line once, and where it belongs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.lines import Ledger, line

from marquee.telemetry import progress
from marquee.telemetry.database import Database

TABLES = ("watches", "ratings", "recommendation_requests", "accounts")
_user_of = re.compile(rb"\A[^,]*,([0-9]+),").match


@dataclass(frozen=True)
class Account:
    """``lost``: acknowledged by Kafka and in no table; ``doubled``: rows beyond one a line; ``wrong``: a row that
    is not its line's, or in the wrong table."""

    acknowledged: int
    rows: int
    lost: int
    doubled: int
    wrong: int
    totals_agree: bool
    viewings_agree: bool
    examples: tuple[str, ...] = ()
    """Some of the rows that are wrong."""

    @property
    def exact(self) -> bool:
        """Whether every line is there once, where it belongs, and the sums made on the way agree."""
        return not (self.lost or self.doubled or self.wrong) and self.totals_agree and self.viewings_agree

    def __str__(self) -> str:
        sums = "agree" if self.totals_agree and self.viewings_agree else "DISAGREE"
        return (
            f"lines {self.acknowledged}, rows {self.rows}, lost = {self.lost}, doubled = {self.doubled}, "
            f"wrong = {self.wrong}, totals and viewings {sums}"
        )


Rows = Mapping[tuple[int, int], list[tuple[str, str]]]
"""(table, user id) of each row by (partition, offset)."""


def account(database: Database, ledger: Ledger) -> Account:
    """Count as it stands."""
    rows = _rows(database)
    wrong = _wrong(rows, ledger)
    users = {user_id for found in rows.values() for _, user_id in found}
    # A line that Kafka took without our hearing of it is a line all the same: it may be there once.
    return Account(
        acknowledged=len(ledger.safe),
        rows=sum(len(found) for found in rows.values()),
        lost=sum(line(number, ledger.seed).user_id not in users for number in ledger.safe)
        + sum(place not in rows for place in ledger.places),
        doubled=sum(len(found) - 1 for found in rows.values()),
        wrong=len(wrong),
        examples=tuple(wrong[:5]),
        totals_agree=progress.totals(database) == progress.counts(database),
        viewings_agree=_viewings_agree(database),
    )


def _rows(database: Database) -> Rows:
    rows: dict[tuple[int, int], list[tuple[str, str]]] = {}
    with database.transaction(deadline_ms=0) as cursor:
        for table in TABLES:
            cursor.execute(f'SELECT partition, "offset", user_id FROM {table}')
            for partition, offset, user_id in cursor.fetchall():
                rows.setdefault((partition, offset), []).append((table, user_id))
        cursor.execute('SELECT partition, "offset", raw FROM quarantine')
        for partition, offset, raw in cursor.fetchall():
            user = _user_of(bytes(raw))
            user_id = user[1].decode() if user else ""
            rows.setdefault((partition, offset), []).append(("quarantine", user_id))
    return rows


def _wrong(rows: Rows, ledger: Ledger) -> list[str]:
    """Rows whose line was never written, or written elsewhere, or belongs into another table."""
    fates = {(known := line(number, ledger.seed)).user_id: known.table for number in range(ledger.written)}
    wrong = []
    for place, found in rows.items():
        number = ledger.places.get(place)
        expected = None if number is None else line(number, ledger.seed).user_id
        for table, user_id in found:
            if fates.get(user_id) != table or expected not in (None, user_id):
                fate = f"{fates.get(user_id)}; Kafka said that {expected} is there"
                wrong.append(f"{place}: user {user_id} in {table}, not {fate}")
    return wrong


# Folded again from all that was watched: what the running fold must have come to.
_FOLDED = """
SELECT user_id, movie_id, min(time), max(time), min(minute), max(minute) FROM watches
GROUP BY user_id, movie_id ORDER BY user_id, movie_id"""
_VIEWINGS = """
SELECT user_id, movie_id, started, ended, first_minute, last_minute FROM viewings ORDER BY user_id, movie_id"""


def _viewings_agree(database: Database) -> bool:
    with database.transaction(deadline_ms=0) as cursor:
        cursor.execute(_FOLDED)
        folded = cursor.fetchall()
        cursor.execute(_VIEWINGS)
        return bool(folded == cursor.fetchall())
