"""Groups of users: by gender, age band, occupation, activity, and whether they are new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "unknown"
GENDER, AGE, OCCUPATION, ACTIVITY, TENURE = "gender", "age", "occupation", "activity", "new or known"
# Exclusive upper limit and name of each band.
_AGES = ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (50, "45-49"), (56, "50-55"))
_ACTIVITY = ((1, "no rating before"), (51, "1-50 ratings"), (151, "51-150 ratings"))

Labels = list[str]


def label_users(attributes: Sequence[Mapping[str, str]], activity: Sequence[int]) -> dict[str, Labels]:
    """Return the group of each user by kind of group: gender, age band and activity.

    ``attributes`` [n]: side information of each user. ``activity`` [n]: number of ratings before the test.
    """
    return {
        GENDER: [row.get("gender") or UNKNOWN for row in attributes],
        AGE: [age_band(row.get("age", "")) for row in attributes],
        ACTIVITY: [activity_band(int(n)) for n in activity],
    }


def split_members(labels: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each group in order of its name, with a mask of its users. ``labels`` holds the group of each user."""
    number_by_name = {name: number for number, name in enumerate(sorted(set(labels)))}
    numbers = np.fromiter((number_by_name[name] for name in labels), np.int32, len(labels))
    for name, number in number_by_name.items():
        yield name, numbers == number


def age_band(age: str) -> str:
    """Return the age band of MovieLens 1M that contains ``age``; :data:`UNKNOWN` if it is not a number."""
    return _find_band(int(age), _AGES, "56 and over") if age.isdecimal() else UNKNOWN


def activity_band(ratings: int) -> str:
    """Return the band of a user with ``ratings`` ratings."""
    return _find_band(ratings, _ACTIVITY, "over 150 ratings")


def _find_band(number: int, bands: Sequence[tuple[int, str]], last: str) -> str:
    return next((name for end, name in bands if number < end), last)
