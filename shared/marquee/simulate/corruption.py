"""Corruption of records in the ways that the recorded event logs show.

Some corruption is silent: the record still parses, as an event that was not meant. Each corrupted record
carries its kind and the parser's category, so that tables and quarantine can be checked to the record.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase, digits
from typing import NamedTuple

from marquee.events.kinds import Category, MalformedRecord
from marquee.events.parser import EventParser
from marquee.simulate.hashed_rng import generator_for


class CorruptionKind(StrEnum):
    """A way to corrupt a record."""

    # One blank, letter or digit anywhere.
    INSERTED = "inserted"
    # The movie id is 10 to 53 random letters and digits.
    RANDOM_ID = "random_id"
    # Silent: one more digit in the user id.
    USER_DIGIT = "user_digit"
    # Silent: one more letter in the movie id, which the catalog does not have.
    MOVIE_LETTER = "movie_letter"
    # Bytes that are not UTF-8.
    NOT_UTF8 = "not_utf8"


class CorruptedRecord(NamedTuple):
    """A corrupted record, its kind of corruption, and the parser's category (None: it still parses)."""

    raw: bytes
    kind: CorruptionKind
    category: Category | None


# The recordings show these kinds, and that insertions are the most common. The exact weights are assumed.
_WEIGHTS = {
    CorruptionKind.INSERTED: 60,
    CorruptionKind.RANDOM_ID: 15,
    CorruptionKind.USER_DIGIT: 10,
    CorruptionKind.MOVIE_LETTER: 10,
    CorruptionKind.NOT_UTF8: 5,
}
_CHARACTERS = " " + digits + ascii_lowercase + ascii_uppercase
_MOVIE_ID = re.compile(r"(?<=GET /data/m/)[^/]+(?=/)|(?<=GET /rate/)[^=]+(?==)")
# Never valid in UTF-8: a lone continuation byte, an overlong form, a surrogate, half a character.
_NOT_UTF8 = (b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82", b"\xff")


class Corrupter:
    """Corrupts about ``rate`` of the records; the same ones for the same ``seed``.

    ``has_movie`` returns True for the movie ids of the catalog.
    """

    def __init__(self, rate: float, parser: EventParser, has_movie: Callable[[str], bool], seed: int) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"a corruption rate of {rate}: it must be from 0 to 1")
        self._rate, self._parser, self._has_movie = rate, parser, has_movie
        self._rng = generator_for(seed, "corruption")
        self._clean = self._draw_gap()

    def _draw_gap(self) -> int:
        """Draw the number of clean records before the next corrupted one.

        The distribution is geometric, so most records need no draw.
        """
        if self._rate == 0:
            return -1
        gap = 0
        while self._rng.random() >= self._rate:
            gap += 1
        return gap

    def corrupt(self, text: str) -> CorruptedRecord | None:
        """Return ``text`` corrupted, or None if this record stays clean."""
        if self._clean:
            self._clean -= 1
            return None
        self._clean = self._draw_gap()
        kind = self._rng.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
        return self.corrupt_as(kind, text)

    def corrupt_as(self, kind: CorruptionKind, text: str) -> CorruptedRecord:
        """Return ``text`` with corruption of ``kind``, or with an insertion if ``kind`` does not apply to it."""
        if kind is CorruptionKind.NOT_UTF8:
            position = self._rng.randint(0, len(text))
            # Records are ASCII, so a position in the text is one in the bytes.
            raw = text[:position].encode() + self._rng.choice(_NOT_UTF8) + text[position:].encode()
            return CorruptedRecord(raw, kind, Category.ENCODING)
        corrupted = self._corrupt_text(kind, text)
        if corrupted is None:
            kind, corrupted = CorruptionKind.INSERTED, self._insert(text, 0, len(text), _CHARACTERS)
        parsed = self._parser.parse(corrupted)
        category = parsed.category if isinstance(parsed, MalformedRecord) else None
        return CorruptedRecord(corrupted.encode(), kind, category)

    def _corrupt_text(self, kind: CorruptionKind, text: str) -> str | None:
        if kind is CorruptionKind.USER_DIGIT:
            start = text.index(",") + 1
            # Not before the first digit: a leading zero would change nothing visible.
            return self._insert(text, start + 1, text.index(",", start), digits)
        movie_id = _MOVIE_ID.search(text)
        if movie_id is None:
            return None
        if kind is CorruptionKind.RANDOM_ID:
            length = self._rng.randint(10, 53)
            random_id = "".join(self._rng.choices(_CHARACTERS[1:], k=length))
            return text[: movie_id.start()] + random_id + text[movie_id.end() :]
        if kind is CorruptionKind.MOVIE_LETTER:
            return self._insert_movie_letter(text, movie_id.start(), movie_id.end())
        return None

    def _insert_movie_letter(self, text: str, start: int, end: int) -> str | None:
        for _ in range(10):
            # Before the last plus: a letter in the year would not be silent.
            corrupted = self._insert(text, start, text.rindex("+", start, end), ascii_lowercase)
            if not self._has_movie(corrupted[start : end + 1]):
                return corrupted
        return None

    def _insert(self, text: str, low: int, high: int, characters: str) -> str:
        position = self._rng.randint(low, high)
        return text[:position] + self._rng.choice(characters) + text[position:]
