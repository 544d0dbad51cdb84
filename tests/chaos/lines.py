"""Known lines: from a line's number follows what it says, and which table it belongs into."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

MOVIES = ("fight+club+1999", "m*a*s*h+1970", "up+2009", "the+best+of+youth+2003")
SERVER = "127.0.0.1:8082"
_START = datetime(2026, 2, 14, tzinfo=UTC)

# One user's first number: user ids tell the lines apart, and damaged lines hold theirs all the same.
_FIRST_USER = 10_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line and its fate."""

    number: int
    raw: bytes
    table: str

    @property
    def user_id(self) -> str:
        return str(_FIRST_USER + self.number)


def line(number: int, seed: int) -> Line:
    """The line of this number: 9 in 10 watches, and about 1 in 25 damaged."""
    chance = random.Random(f"{seed}/{number}")
    user, movie = _FIRST_USER + number, chance.choice(MOVIES)
    stamp = (_START + timedelta(seconds=number / 7)).replace(tzinfo=None).isoformat(timespec="milliseconds")
    watch = f"{stamp},{user},GET /data/m/{movie}/{chance.randint(0, 120)}.mpg"
    kind = chance.random()
    if kind < 0.88:
        return Line(number, watch.encode(), "watches")
    if kind < 0.91:
        rating = f"{stamp},{user},GET /rate/{movie}={chance.randint(1, 5)}"
        return Line(number, rating.encode(), "ratings")
    if kind < 0.94:
        ask = f"{stamp},{user},recommendation request {SERVER}, status 200, result: {movie}, 31 ms"
        return Line(number, ask.encode(), "recommendation_requests")
    if kind < 0.96:
        return Line(number, f"{stamp},{user},GET /create_account".encode(), "accounts")
    return Line(number, _damaged(watch, chance), "quarantine")


def _damaged(watch: str, chance: random.Random) -> bytes:
    """As the real log's damaged lines are, and some that are worse; the user id stays legible."""
    return chance.choice(
        [
            watch.replace("GET", "GZET", 1).encode(),
            watch.replace("/data/", "/dat\0a/", 1).encode(),
            watch.encode() + b"\xff\xfe",
            watch.encode() + b"\n",
            watch.removesuffix(".mpg").encode(),
        ]
    )


@dataclass
class Ledger:
    """Every line that was handed to Kafka, and where Kafka says that it is."""

    seed: int
    written: int = 0
    places: dict[tuple[int, int], int] = field(default_factory=dict)
    """The line's number by (partition, offset), as Kafka acknowledged it first."""
    safe: set[int] = field(default_factory=set)
    """The numbers of the lines that Kafka acknowledged."""
    misnamed: int = 0
    """Acknowledgements that named the place of another line: the embedded broker answers a repetition so."""

    def next(self) -> Line:
        """The next line to write."""
        self.written += 1
        return line(self.written - 1, self.seed)

    def acknowledged(self, number: int, partition: int, offset: int) -> None:
        """Kafka has it."""
        self.safe.add(number)
        self.misnamed += self.places.setdefault((partition, offset), number) != number
