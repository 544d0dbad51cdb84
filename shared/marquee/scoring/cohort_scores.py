"""Cohorts of users and the scores of items for users without a history.

Training and serving agree on the names of cohorts: ``age:25-34``, ``gender:f``, ``occupation:writer``, and
``genre:horror`` for users who state that interest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marquee.scoring.arrays import Floats

GENRE_PREFIX = "genre:"
AGES = ((0, "0-17"), (18, "18-24"), (25, "25-34"), (35, "35-44"), (45, "45-54"), (55, "55-"))


def demographic_cohorts(age: int | None, gender: str, occupation: str) -> tuple[str, ...]:
    """Return the names of a user's demographic cohorts; None or empty means unknown."""
    names = []
    if age is not None and age >= 0:
        names.append("age:" + [label for min_age, label in AGES if min_age <= age][-1])
    if gender:
        names.append("gender:" + gender.strip().lower())
    if occupation:
        names.append("occupation:" + occupation.strip().lower())
    return tuple(names)


def genre_cohort(name: str) -> str:
    """Return the name of the cohort of users who like a genre."""
    return GENRE_PREFIX + name.strip().lower()


def score_cohorts(popularity: Floats, scores: Floats, weights: Sequence[float] | Floats) -> Floats:
    """Return the score of every item, [n_items], for a user of whom only the cohorts are known.

    ``scores`` [n, n_items] and ``weights`` [n] are those of the user's cohorts. Popularity and preferences are
    multiplied, as a sum of logarithms: naive Bayes, which treats the cohorts as independent.
    """
    floor = max(float(popularity.max()), 1.0) * 1e-9  # For items without interactions.
    log_scores: Floats = np.log(np.maximum(popularity, np.float32(floor)))
    log_scores += np.asarray(weights, np.float32) @ scores
    return log_scores
