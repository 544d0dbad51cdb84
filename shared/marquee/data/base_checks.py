"""Whether there is something to learn from: what is wrong is said before a minute is spent on training."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marquee.errors import TrainingDataError

COLUMNS = ("user_id", "movie_id", "value", "time")


def validate_ratings(ratings: pd.DataFrame, rating_min: float, rating_max: float) -> None:
    """Raise :class:`TrainingDataError` for ratings that are not finite, outside ``[rating_min, rating_max]``,
    or without an id."""
    values = ratings["value"].to_numpy(np.float64)
    _refuse(ratings, ~np.isfinite(values), "are not finite numbers")
    outside = (values < rating_min) | (values > rating_max)
    _refuse(ratings, outside, f"are outside the scale of {rating_min:g} to {rating_max:g}")
    nameless = (ratings["user_id"] == "") | (ratings["movie_id"] == "")
    _refuse(ratings, nameless.to_numpy(), "lack a user or a movie")


def drop_duplicate_ratings(ratings: pd.DataFrame) -> pd.DataFrame:
    """The newest rating of each pair; raises :class:`TrainingDataError` if none is, or all are one number."""
    if ratings.empty:
        raise TrainingDataError(
            "there are no ratings to learn from: give base data (--base; `marquee data fetch` brings some), "
            "or a database that holds ratings"
        )
    kept = latest_per_pair(ratings)
    if kept["value"].nunique() == 1:
        raise TrainingDataError(
            f"all {len(kept)} ratings are {kept['value'].iloc[0]:g}: nothing can be learnt from a constant"
        )
    return kept


def latest_per_pair(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each (user, movie): the newest, and of several at one moment the highest."""
    in_order = frame.sort_values(["time", "user_id", "movie_id", "value"], kind="stable")
    return in_order.drop_duplicates(["user_id", "movie_id"], keep="last")


def known_movies(frames: Sequence[pd.DataFrame], listed: Set[str], enough_users: int) -> set[str]:
    """The movies that the base data list, or that ``enough_users`` different users rated or watched.

    A corrupted line may name a movie that does not exist: such ids come once each, and must never be
    recommended.
    """
    pairs = pd.concat([frame[["user_id", "movie_id"]] for frame in frames]).drop_duplicates()
    users = pairs["movie_id"].value_counts()
    return {*listed, *users.index[users >= enough_users]}


def _refuse(ratings: pd.DataFrame, wrong: NDArray[np.bool_], what: str) -> None:
    if wrong.any():
        examples = ratings[wrong].head(3)
        shown = "; ".join(f"user {r.user_id}, movie {r.movie_id}: {r.value}" for r in examples.itertuples())
        raise TrainingDataError(
            f"{wrong.sum()} of {len(ratings)} ratings {what} (the first: {shown}). "
            "Mend or remove them; MARQUEE_RATING_MAX and params.yaml set the scales"
        )
