"""How much has been written: exact counts for accounts and tests, cheap totals for a display."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from marquee.telemetry.database import Database


@dataclass(frozen=True, slots=True)
class LineCounts:
    """Rows by table. ``lines`` is what every line of the stream must add up to.

    ``next_offsets`` maps (topic, partition) of each topic's newest incarnation to the offset after the
    highest one that was written.
    """

    watches: int
    ratings: int
    recommendation_requests: int
    accounts: int
    quarantine: int
    quarantine_by_category: Mapping[str, int]
    next_offsets: Mapping[tuple[str, int], int]
    impressions: int
    rejected_events: int

    @property
    def lines(self) -> int:
        """Lines kept: events of all kinds, and those in quarantine."""
        return self.watches + self.ratings + self.recommendation_requests + self.accounts + self.quarantine


def counts(database: Database) -> LineCounts:
    """Count every table's rows: exact, and as slow as the tables are long."""
    raise NotImplementedError


def totals(database: Database) -> LineCounts:
    """The same for the tables of the stream's lines from running counters, at any size in a millisecond."""
    raise NotImplementedError
