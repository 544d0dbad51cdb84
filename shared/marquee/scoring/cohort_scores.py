"""Groups of users by what is known of them besides their history, and what each group prefers.

The names are agreed between training, which counts what a group likes, and answering, which asks for it:
``age:25-34``, ``gender:f``, ``occupation:writer``, and ``genre:horror`` for those who say that they like it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marquee.scoring.arrays import Floats

AGES = ((0, "0-17"), (18, "18-24"), (25, "25-34"), (35, "35-44"), (45, "45-54"), (55, "55-"))


def demographic(age: int | None, gender: str, occupation: str) -> tuple[str, ...]:
    """The cohorts of a user; what is None or empty is not known."""
    names = []
    if age is not None and age >= 0:
        names.append("age:" + [band for low, band in AGES if low <= age][-1])
    if gender:
        names.append("gender:" + gender.strip().lower())
    if occupation:
        names.append("occupation:" + occupation.strip().lower())
    return tuple(names)


def genre(name: str) -> str:
    """The cohort of those who like a genre."""
    return "genre:" + name.strip().lower()


def mix_cohorts(popularity: Floats, scores: Floats, weights: Sequence[float] | Floats) -> Floats:
    """The score of every item [n_items] for whom only cohorts are known.

    ``scores`` [n, n_items] and ``weights`` [n] of his cohorts. Popularity and preferences are multiplied, as
    logarithms: naive Bayes, as if cohorts were independent.
    """
    floor = max(float(popularity.max()), 1.0) * 1e-9  # For items that nobody has seen yet.
    found: Floats = np.log(np.maximum(popularity, np.float32(floor)))
    found += np.asarray(weights, np.float32) @ scores
    return found
