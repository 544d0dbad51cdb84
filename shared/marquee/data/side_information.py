"""What is known of users and movies besides ratings, as feature blocks: one column a value, zeros where unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Blocks = tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True)
class SideInformation:
    """By id, what is known; each value is text, and "" or a missing id is unknown.

    ``users``: age, gender, occupation and zip. ``movies``: year, and genres with ``|`` between them.
    """

    users: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    movies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def user_blocks(self, user_ids: Sequence[str]) -> Blocks:
        """One block [n_users, values] of all that is known of users; none if nothing is."""
        known = [self.users.get(user_id, {}) for user_id in user_ids]
        return _block(
            one_hot([_age_band(row.get("age", "")) for row in known]),
            one_hot([row.get("gender", "") for row in known]),
            one_hot([row.get("occupation", "") for row in known]),
            one_hot([row.get("zip", "")[:1] for row in known]),
        )

    def item_blocks(self, movie_ids: Sequence[str]) -> Blocks:
        """One block [n_movies, values] of all that is known of movies; none if nothing is."""
        known = [self.movies.get(movie_id, {}) for movie_id in movie_ids]
        return _block(
            many_hot([[genre for genre in row.get("genres", "").split("|") if genre] for row in known]),
            one_hot([_era(row.get("year", "")) for row in known]),
        )

    def merged(self, newer: SideInformation) -> SideInformation:
        """Both; where both know an id, what ``newer`` says."""
        return SideInformation({**self.users, **newer.users}, {**self.movies, **newer.movies})


def by_id(rows: Iterable[Mapping[str, str]], key: str) -> dict[str, Mapping[str, str]]:
    """The rows of a table by their ``key``."""
    return {row[key]: row for row in rows}


def _block(*columns: NDArray[np.float64]) -> Blocks:
    block = np.hstack(columns)
    return (block,) if block.any() else ()


def _age_band(age: str) -> str:
    return f"{int(age) // 5 * 5}" if age.isdigit() else ""


def _era(year: str) -> str:
    """Five years of late, ten before 1985: older movies are fewer."""
    if not year.isdigit():
        return ""
    return f"{int(year) // 5 * 5}" if int(year) >= 1985 else f"{int(year) // 10 * 10}s"


def one_hot(values: Sequence[str]) -> NDArray[np.float64]:
    """A column for each distinct value; "" is unknown and has none: the row stays zero there."""
    names = sorted(set(values) - {""})
    index = {name: k for k, name in enumerate(names)}
    out = np.zeros((len(values), len(names)))
    for row, value in enumerate(values):
        if value:
            out[row, index[value]] = 1.0
    return out


def many_hot(values: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """A column for each distinct value of lists such as genres, scaled by 1 / sqrt(how many the row has)."""
    names = sorted({name for row in values for name in row})
    index = {name: k for k, name in enumerate(names)}
    out = np.zeros((len(values), len(names)))
    for k, row in enumerate(values):
        for name in set(row):
            out[k, index[name]] = 1.0 / np.sqrt(len(set(row)))
    return out
