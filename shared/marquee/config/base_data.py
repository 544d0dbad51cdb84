"""The base data: a directory of CSV tables that models train on and the simulator replays."""

from __future__ import annotations

from collections.abc import Sequence

RATINGS_FILE, USERS_FILE, MOVIES_FILE = "ratings.csv", "users.csv", "movies.csv"
RATING_COLUMNS = ("user_id", "movie_id", "rating", "time")


def earliest_fraction_end(times: Sequence[int], fraction: float) -> int:
    """Return the time that ends the earliest ``fraction`` of the ratings; ratings at that time are later ones.

    Training takes the ratings before it, the replay those from it on. Times are whole seconds and the order
    within a second is unknown, so a second is never divided.

    Parameters
    ----------
    times
        The times of all ratings in ascending order; not empty.
    fraction
        The fraction of the ratings that is earlier, from 0 to 1.
    """
    return times[min(len(times) - 1, round(fraction * len(times)))]
