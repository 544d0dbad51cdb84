"""A catalogue of any size that is never held: a movie's id is computed from its number, and back.

A title is made of words, one out of each of three lists, that spell the movie's number: two movies
cannot share one. Around the words stand the oddities of the real log's ids (``stream-protocol``):
commas turned into ``_``, ampersands into nothing, asterisks, a leading ``+``, no year, the year twice.
"""

from __future__ import annotations

import re

from marquee.simulate.hashed_rng import coprime, seed_of
from marquee.simulate.titles import FIRST, SECOND, THIRD

_LETTERS = re.compile(r"[a-z]+")
_FIRST_AT, _SECOND_AT, _THIRD_AT = (
    {word: place for place, word in enumerate(words)} for words in (FIRST, SECOND, THIRD)
)
MOST_MOVIES = len(FIRST) * len(SECOND) * (len(THIRD) + 1)


class SyntheticCatalogue:
    """``movies`` movies, numbered from the most to the least popular. The same ``seed``, the same movies."""

    def __init__(self, movies: int, seed: int) -> None:
        if not 1 <= movies <= MOST_MOVIES:
            raise ValueError(f"a catalogue of {movies} movies: it can have from 1 to {MOST_MOVIES}")
        self.movies, self._seed = movies, seed
        # As many titles as are needed, in whole turns of two words; shuffled, lest the popular ones be alike.
        pairs = len(FIRST) * len(SECOND)
        self._titles = pairs * -(-movies // pairs)
        self._stride = coprime(seed_of(seed, "titles"), self._titles)
        self._back = pow(self._stride, -1, self._titles)

    def movie_id(self, movie: int) -> str:
        """The id of movie number ``movie`` in the log's form."""
        rest, second = divmod(movie * self._stride % self._titles, len(SECOND))
        rest, first = divmod(rest, len(FIRST))
        words = [FIRST[first], SECOND[second]] + ([THIRD[rest - 1]] if rest else [])
        draw = seed_of(self._seed, "movie", movie)
        year = str(1925 + draw % 100)
        odd = (draw >> 8) % 100
        title = _odd_title(words, odd)
        if odd == 0:
            return title + "+"
        return f"{title}+{year}+{year}" if odd == 1 else f"{title}+{year}"

    def number(self, movie_id: str) -> int | None:
        """The movie's number, or None if the catalogue does not have it."""
        words = _LETTERS.findall(movie_id.replace("*", ""))
        if not 2 <= len(words) <= 3 or words[0] not in _FIRST_AT or words[1] not in _SECOND_AT:
            return None
        rest = 0 if len(words) == 2 else _THIRD_AT.get(words[2], -2) + 1
        title = (rest * len(FIRST) + _FIRST_AT[words[0]]) * len(SECOND) + _SECOND_AT[words[1]]
        movie = title * self._back % self._titles
        return movie if 0 <= movie < self.movies and self.movie_id(movie) == movie_id else None


def _odd_title(words: list[str], odd: int) -> str:
    """About one title in eight is written in one of the ways that trip a hasty parser."""
    plain = "+".join(words)
    match odd:
        case 2:
            return f"+{plain}"
        case 3:
            return plain + "*"
        case 4:
            return "*".join(words[0]) + "+" + "+".join(words[1:])
        case 5 | 6:
            return f"{words[0]}_+{'+'.join(words[1:])}"
        case 7 | 8:
            return "++".join(words)
        case 9:
            return "-".join(words)
        case 10:
            return f"{words[0]}.+{'+'.join(words[1:])}"
        case 11:
            return f"{plain}+2"
        case _:
            return plain


def runtime(movie_id: str, seed: int) -> int:
    """The movie's length in minutes: 113 on the average, from 60 to 200."""
    draw = seed_of(seed, "runtime", movie_id)
    # The sum of four uniform numbers is near enough to a bell.
    bell = sum((draw >> shift) & 0xFFFF for shift in (0, 16, 32, 48)) / 0x10000 - 2
    return max(60, min(200, round(113 + 34 * bell)))
