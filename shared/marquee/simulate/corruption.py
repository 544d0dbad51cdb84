"""Lines spoiled in the ways that the recorded logs show, each remembered by its kind.

Some of it is silent: the line still reads as an event, only not as the one that was meant. What the
parser makes of each spoiled line is therefore kept beside its kind, so that a count of what went into the
tables and what into quarantine can be checked to the line.
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
    """What was done to a line."""

    INSERTED = "inserted"  # one blank, letter or digit anywhere
    RANDOM_ID = "random_id"  # the movie id is 10-53 random letters and digits
    USER_DIGIT = "user_digit"  # silent: one digit more in the user id
    MOVIE_LETTER = "movie_letter"  # silent: one letter more, and the catalogue does not know the movie
    NOT_UTF8 = "not_utf8"  # bytes that are no text


class CorruptedRecord(NamedTuple):
    """A spoiled line, what was done to it, and where the parser will put it (None: it still reads)."""

    line: bytes
    kind: CorruptionKind
    category: Category | None


# Weights are ours: the recordings tell the kinds, and that insertions are the most common.
_WEIGHTS = {
    CorruptionKind.INSERTED: 60,
    CorruptionKind.RANDOM_ID: 15,
    CorruptionKind.USER_DIGIT: 10,
    CorruptionKind.MOVIE_LETTER: 10,
    CorruptionKind.NOT_UTF8: 5,
}
_ANY = " " + digits + ascii_lowercase + ascii_uppercase
_MOVIE_ID = re.compile(r"(?<=GET /data/m/)[^/]+(?=/)|(?<=GET /rate/)[^=]+(?==)")
# Never valid in UTF-8: a lone continuation, an overlong form, a surrogate, half a character.
_NOT_UTF8 = (b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82", b"\xff")


class Corrupter:
    """Spoils about ``rate`` of the lines that pass, always the same ones for one ``seed``.

    ``known``: whether the catalogue has a movie id.
    """

    def __init__(self, rate: float, parser: EventParser, known: Callable[[str], bool], seed: int) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"a share of {rate} of the lines: it should be from 0 to 1")
        self._rate, self._parser, self._known = rate, parser, known
        self._chance = generator_for(seed, "corruption")
        self._clean = self._gap()

    def _gap(self) -> int:
        """How many lines stay clean until the next: geometric, so that most lines cost no draw."""
        if self._rate == 0:
            return -1
        gap = 0
        while self._chance.random() >= self._rate:
            gap += 1
        return gap

    def spoil(self, text: str) -> CorruptedRecord | None:
        """``text`` spoiled, or None if this line stays as it is."""
        if self._clean:
            self._clean -= 1
            return None
        self._clean = self._gap()
        kind = self._chance.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
        return self.spoil_as(kind, text)

    def spoil_as(self, kind: CorruptionKind, text: str) -> CorruptedRecord:
        """``text`` spoiled so; a line without a movie id gets an insertion where one is needed."""
        if kind is CorruptionKind.NOT_UTF8:
            place = self._chance.randint(0, len(text))
            # Lines are ASCII, so that a place in the text is one in the bytes.
            line = text[:place].encode() + self._chance.choice(_NOT_UTF8) + text[place:].encode()
            return CorruptedRecord(line, kind, Category.ENCODING)
        spoiled = self._spoiled_text(kind, text)
        if spoiled is None:
            kind, spoiled = CorruptionKind.INSERTED, self._inserted(text, 0, len(text), _ANY)
        read = self._parser.parse(spoiled)
        return CorruptedRecord(
            spoiled.encode(), kind, read.category if isinstance(read, MalformedRecord) else None
        )

    def _spoiled_text(self, kind: CorruptionKind, text: str) -> str | None:
        if kind is CorruptionKind.USER_DIGIT:
            start = text.index(",") + 1
            # Not before the first digit, where a nought would do no harm that anybody could see.
            return self._inserted(text, start + 1, text.index(",", start), digits)
        movie_id = _MOVIE_ID.search(text)
        if movie_id is None:
            return None
        if kind is CorruptionKind.RANDOM_ID:
            length = self._chance.randint(10, 53)
            other = "".join(self._chance.choices(_ANY[1:], k=length))
            return text[: movie_id.start()] + other + text[movie_id.end() :]
        if kind is CorruptionKind.MOVIE_LETTER:
            return self._unknown_movie(text, movie_id.start(), movie_id.end())
        return None

    def _unknown_movie(self, text: str, start: int, end: int) -> str | None:
        for _ in range(10):
            # Before the last plus: a letter in the year would not be silent.
            spoiled = self._inserted(text, start, text.rindex("+", start, end), ascii_lowercase)
            if not self._known(spoiled[start : end + 1]):
                return spoiled
        return None

    def _inserted(self, text: str, low: int, high: int, letters: str) -> str:
        place = self._chance.randint(low, high)
        return text[:place] + self._chance.choice(letters) + text[place:]
