"""Side information of users and movies, encoded as feature blocks: one column for each value, zeros if unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Blocks = tuple[NDArray[np.float64], ...]

USER_ATTRIBUTES = ("genres", "age", "gender", "occupation", "zip")
"""Attributes of users that can be features. Those that users declare for this purpose come first."""

# Attributes that describe a movie, unlike its number in another catalog.
_DESCRIBING = ("title", "year", "genres")


@dataclass(frozen=True, slots=True)
class SideInformation:
    """Attributes by id. Every value is text; "" and a missing id mean unknown.

    ``users``: age, gender, occupation, zip, and declared genres separated by ``|``. ``movies``: year, and genres
    separated by ``|``.
    """

    users: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    movies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def user_blocks(self, user_ids: Sequence[str], attributes: Sequence[str] = USER_ATTRIBUTES) -> Blocks:
        """Return one block [n_users, values] of the given user attributes; no block if all are unknown."""
        rows = [self.users.get(user_id, {}) for user_id in user_ids]
        return _combine(*(_encode_attribute(name, rows) for name in USER_ATTRIBUTES if name in attributes))

    def item_blocks(self, movie_ids: Sequence[str]) -> Blocks:
        """Return one block [n_movies, values] of the movies' attributes; no block if all are unknown."""
        rows = [self.movies.get(movie_id, {}) for movie_id in movie_ids]
        return _combine(
            many_hot([split_genres(row.get("genres", "")) for row in rows]),
            one_hot([release_period(row.get("year", "")) for row in rows]),
        )

    def described_movies(self) -> Iterable[str]:
        """Return the ids of movies with at least one known descriptive attribute."""
        return (movie_id for movie_id, row in self.movies.items() if any(row.get(name) for name in _DESCRIBING))

    def limited_to(self, attributes: Sequence[str]) -> SideInformation:
        """Return the side information with only some of the users' attributes."""
        users = {
            user_id: {name: value for name, value in row.items() if name in attributes}
            for user_id, row in self.users.items()
        }
        return SideInformation(users, self.movies)

    def fill_movies(self, rows: Mapping[str, Mapping[str, str]]) -> SideInformation:
        """Return the side information with the attributes of ``rows`` where a movie has none."""
        movies = {**self.movies}
        for movie_id, row in rows.items():
            movies[movie_id] = {**row, **{name: value for name, value in movies.get(movie_id, {}).items() if value}}
        return SideInformation(self.users, movies)

    def merge(self, newer: SideInformation) -> SideInformation:
        """Return the union; for an id in both, ``newer`` takes precedence."""
        return SideInformation({**self.users, **newer.users}, {**self.movies, **newer.movies})


def one_hot(values: Sequence[str]) -> NDArray[np.float64]:
    """Return the one-hot encoding [n, distinct values]; the row of "" (unknown) is zero."""
    return many_hot([[value] if value else [] for value in values])


def many_hot(values: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return the encoding [n, distinct values] of lists such as genres.

    A row's entries are 1 / sqrt(number of its distinct values), so that every known row has length 1.
    """
    names = sorted({name for row in values for name in row})
    column_by_name = {name: k for k, name in enumerate(names)}
    features = np.zeros((len(values), len(names)))
    for k, row in enumerate(values):
        for name in set(row):
            features[k, column_by_name[name]] = 1.0 / np.sqrt(len(set(row)))
    return features


def _combine(*columns: NDArray[np.float64]) -> Blocks:
    block = np.hstack(columns) if columns else np.zeros((0, 0))
    return (block,) if block.any() else ()


def _encode_attribute(name: str, rows: Sequence[Mapping[str, str]]) -> NDArray[np.float64]:
    """Return the columns of one attribute. A zip code is encoded by its first digit, an age by bands of five years."""
    values = [row.get(name, "") for row in rows]
    if name == "genres":
        return many_hot([split_genres(value) for value in values])
    if name == "age":
        return one_hot([_age_band(value) for value in values])
    return one_hot([value[:1] if name == "zip" else value for value in values])


def split_genres(genres: str) -> list[str]:
    """Return the genres of a list separated by ``|``."""
    return [genre for genre in genres.split("|") if genre]


def _age_band(age: str) -> str:
    return f"{int(age) // 5 * 5}" if age.isdecimal() else ""


def release_period(year: str) -> str:
    """Return the period of a release year: five years, or ten before 1985, because fewer movies are older."""
    if not year.isdecimal():
        return ""
    return f"{int(year) // 5 * 5}" if int(year) >= 1985 else f"{int(year) // 10 * 10}s"
