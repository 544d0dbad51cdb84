"""The base data: a directory of CSV tables that models train on and the simulator replays."""

from __future__ import annotations

from collections.abc import Sequence

RATINGS_FILE, USERS_FILE, MOVIES_FILE = "ratings.csv", "users.csv", "movies.csv"
RATING_COLUMNS = ("user_id", "movie_id", "rating", "time")


def earliest_fraction_end(times: Sequence[int], fraction: float) -> int:
    """Return the split time; ratings at exactly that time belong to the later part.

    Training uses ratings before it, the replay those at or after it. Times are whole seconds and the order
    within a second is unknown, so a second is never divided.

    Parameters
    ----------
    times
        Times of all ratings in ascending order, in seconds; not empty.
    fraction
        Fraction of the ratings in the earlier part, from 0 to 1.
    """
    return times[min(len(times) - 1, round(fraction * len(times)))]
