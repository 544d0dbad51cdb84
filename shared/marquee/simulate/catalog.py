"""A synthetic movie catalog of any size, computed from the movie's number instead of stored.

A title consists of two or three words that encode the movie's number, so no two movies share a title. Some
ids have the irregularities of the real event log: commas written as ``_``, dropped
ampersands, asterisks, a leading ``+``, no year, or the year twice.
"""

from __future__ import annotations

import re

from marquee.simulate.hashed_rng import coprime_stride, derive_seed
from marquee.simulate.titles import FIRST, SECOND, THIRD

_LETTERS = re.compile(r"[a-z]+")
_FIRST_INDEX, _SECOND_INDEX, _THIRD_INDEX = (
    {word: index for index, word in enumerate(words)} for words in (FIRST, SECOND, THIRD)
)
MAX_MOVIES = len(FIRST) * len(SECOND) * (len(THIRD) + 1)


class SyntheticCatalog:
    """A catalog of ``movies`` movies, numbered from 0 in order of popularity, determined by ``seed``."""

    def __init__(self, movies: int, seed: int) -> None:
        if not 1 <= movies <= MAX_MOVIES:
            raise ValueError(f"a catalog of {movies} movies: the number must be from 1 to {MAX_MOVIES}")
        self.movies, self._seed = movies, seed
        # A multiple of all pairs of two words. The stride shuffles it, so that popular titles do not look alike.
        pairs = len(FIRST) * len(SECOND)
        self._titles = pairs * -(-movies // pairs)
        self._stride = coprime_stride(derive_seed(seed, "titles"), self._titles)
        self._inverse_stride = pow(self._stride, -1, self._titles)

    def movie_id(self, movie: int) -> str:
        """Return the id of movie number ``movie`` as the event log writes it."""
        rest, second = divmod(movie * self._stride % self._titles, len(SECOND))
        rest, first = divmod(rest, len(FIRST))
        words = [FIRST[first], SECOND[second]] + ([THIRD[rest - 1]] if rest else [])
        draw = derive_seed(self._seed, "movie", movie)
        year = str(1925 + draw % 100)
        irregularity = (draw >> 8) % 100
        title = _irregular_title(words, irregularity)
        if irregularity == 0:
            return title + "+"
        return f"{title}+{year}+{year}" if irregularity == 1 else f"{title}+{year}"

    def movie_number(self, movie_id: str) -> int | None:
        """Return the number of the movie, or None if the catalog does not have it."""
        words = _LETTERS.findall(movie_id.replace("*", ""))
        if not 2 <= len(words) <= 3 or words[0] not in _FIRST_INDEX or words[1] not in _SECOND_INDEX:
            return None
        rest = 0 if len(words) == 2 else _THIRD_INDEX.get(words[2], -2) + 1
        title = (rest * len(FIRST) + _FIRST_INDEX[words[0]]) * len(SECOND) + _SECOND_INDEX[words[1]]
        movie = title * self._inverse_stride % self._titles
        return movie if 0 <= movie < self.movies and self.movie_id(movie) == movie_id else None


def _irregular_title(words: list[str], irregularity: int) -> str:
    """Join ``words``; about one title in ten gets a form that a naive parser rejects."""
    plain = "+".join(words)
    match irregularity:
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


def runtime_minutes(movie_id: str, seed: int) -> int:
    """Return the movie's runtime in minutes, between 60 and 200, 113 on average."""
    draw = derive_seed(seed, "runtime", movie_id)
    # The sum of four uniform numbers approximates a normal distribution.
    deviation = sum((draw >> shift) & 0xFFFF for shift in (0, 16, 32, 48)) / 0x10000 - 2
    return max(60, min(200, round(113 + 34 * deviation)))
