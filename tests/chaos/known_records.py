"""Records whose number determines their content and the table that they belong to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from marquee.events.kinds import ACCOUNT, QUARANTINE, RATING, RECOMMENDATION_REQUEST, WATCH

MOVIES = ("fight+club+1999", "m*a*s*h+1970", "up+2009", "the+best+of+youth+2003")
SERVER = "127.0.0.1:8082"
_START = datetime(2026, 2, 14, tzinfo=UTC)

# User ids identify the records: malformed records keep theirs.
_FIRST_USER = 10_000_000


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """One record and the table that it belongs to."""

    number: int
    raw: bytes
    table: str

    @property
    def user_id(self) -> str:
        """The user id, which is unique to the record."""
        return str(_FIRST_USER + self.number)


def known_record(number: int, seed: int) -> KnownRecord:
    """Return the record of this number: 9 of 10 are watches, and about 1 of 25 is malformed."""
    rng = random.Random(f"{seed}/{number}")
    user, movie = _FIRST_USER + number, rng.choice(MOVIES)
    time = (_START + timedelta(seconds=number / 7)).replace(tzinfo=None).isoformat(timespec="milliseconds")
    watch = f"{time},{user},GET /data/m/{movie}/{rng.randint(0, 120)}.mpg"
    kind = rng.random()
    if kind < 0.88:
        return KnownRecord(number, watch.encode(), WATCH.table)
    if kind < 0.91:
        rating = f"{time},{user},GET /rate/{movie}={rng.randint(1, 5)}"
        return KnownRecord(number, rating.encode(), RATING.table)
    if kind < 0.94:
        request = f"{time},{user},recommendation request {SERVER}, status 200, result: {movie}, 31 ms"
        return KnownRecord(number, request.encode(), RECOMMENDATION_REQUEST.table)
    if kind < 0.96:
        return KnownRecord(number, f"{time},{user},GET /create_account".encode(), ACCOUNT.table)
    return KnownRecord(number, _corrupt(watch, rng), QUARANTINE)


def _corrupt(watch: str, rng: random.Random) -> bytes:
    """Return a corruption as in real logs, or a worse one; the user id stays legible."""
    return rng.choice(
        [
            watch.replace("GET", "GZET", 1).encode(),
            watch.replace("/data/", "/dat\0a/", 1).encode(),
            watch.encode() + b"\xff\xfe",
            watch.encode() + b"\n",
            watch.removesuffix(".mpg").encode(),
        ]
    )


@dataclass
class ProducedRecords:
    """Every record that was handed to Kafka, and its position."""

    seed: int
    written: int = 0
    positions: dict[tuple[int, int], int] = field(default_factory=dict)
    """The record's number by (partition, offset), as Kafka acknowledged it first."""
    acknowledged: set[int] = field(default_factory=set)
    """The numbers of the records that Kafka acknowledged."""
    misattributed: int = 0
    """Acknowledgements with the position of another record: the embedded broker answers a retry so."""

    def next(self) -> KnownRecord:
        """Return the next record to write."""
        self.written += 1
        return known_record(self.written - 1, self.seed)

    def acknowledge(self, number: int, partition: int, offset: int) -> None:
        """Note the position that Kafka acknowledged for a record."""
        self.acknowledged.add(number)
        self.misattributed += self.positions.setdefault((partition, offset), number) != number
