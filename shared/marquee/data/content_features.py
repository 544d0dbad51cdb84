"""Features of a movie's metadata: genres, release period, language, words of the title and credits.

In each group the features of a movie have length 1, or are zeros if nothing is known
(:func:`~marquee.data.side_information.many_hot`). Words and names that occur only once carry no information about other
movies, so only the most frequent ones of the rest become columns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from marquee.data.side_information import many_hot, one_hot, release_period, split_genres

_MAX_WORDS, _MAX_NAMES = 256, 256
_CREDITS = ("directors", "cast", "credits")
_STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "by",
        "de",
        "des",
        "du",
        "el",
        "for",
        "from",
        "in",
        "into",
        "is",
        "la",
        "le",
        "les",
        "of",
        "on",
        "or",
        "the",
        "to",
        "with",
    ]
)


def encode_content(movie_ids: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> NDArray[np.float64]:
    """Return the features [n_movies, values] of the metadata ``rows`` by movie id.

    Columns of a row: genres, year, language (or original_language), title, and directors, cast or credits as lists
    separated by ``|``.
    """
    known = [rows.get(movie_id, {}) for movie_id in movie_ids]
    return np.hstack(
        [
            many_hot([split_genres(row.get("genres", "")) for row in known]),
            one_hot([release_period(row.get("year", "")) for row in known]),
            one_hot([(row.get("language") or row.get("original_language", "")).lower() for row in known]),
            many_hot(_frequent([_title_words(row.get("title", "")) for row in known], _MAX_WORDS)),
            many_hot(_frequent([_names(row) for row in known], _MAX_NAMES)),
        ]
    )


def _title_words(title: str) -> list[str]:
    return [word for word in re.findall(r"[^\W_]+", title.lower()) if word not in _STOP_WORDS]


def _names(row: Mapping[str, str]) -> list[str]:
    return [name.strip() for column in _CREDITS for name in row.get(column, "").split("|") if name.strip()]


def _frequent(values: Sequence[Sequence[str]], count: int) -> list[list[str]]:
    """Return the lists limited to the ``count`` most frequent values, each of which is in at least two lists."""
    lists = Counter(value for row in values for value in set(row))
    by_frequency = sorted((value for value, n in lists.items() if n > 1), key=lambda value: (-lists[value], value))
    kept = set(by_frequency[:count])
    return [[value for value in row if value in kept] for row in values]
