"""Validation of the training data before a training."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marquee.data import interaction_frames
from marquee.errors import TooFewRatings, TrainingDataError


def validate_ratings(ratings: pd.DataFrame, rating_min: float, rating_max: float) -> None:
    """Raise :class:`TrainingDataError` for a rating without an id, or not finite in ``[rating_min, rating_max]``."""
    values = ratings["value"].to_numpy(np.float64)
    _refuse(ratings, ~np.isfinite(values), "are not finite numbers")
    outside = (values < rating_min) | (values > rating_max)
    _refuse(ratings, outside, f"are outside the scale of {rating_min:g} to {rating_max:g}")
    without_id = (ratings["user_id"] == "") | (ratings["movie_id"] == "")
    _refuse(ratings, without_id.to_numpy(), "lack a user or a movie")


def drop_duplicate_ratings(ratings: pd.DataFrame, dropped: Sequence[str] = (), *, likes: bool = False) -> pd.DataFrame:
    """Return the newest rating of each (user, movie). ``dropped`` lists reasons why other ratings were dropped before.

    Raises :class:`TooFewRatings` if there are no ratings, or if all are equal. ``likes`` may all be equal, because the
    ranking model learns from co-occurrence.
    """
    latest = latest_per_pair(ratings)
    refuse_too_few(latest["value"].unique().tolist()[:2], len(latest), dropped, likes=likes)
    return latest


def refuse_too_few(values: Sequence[float], count: int, dropped: Sequence[str] = (), *, likes: bool = False) -> None:
    """Raise :class:`TooFewRatings` as :func:`drop_duplicate_ratings`, for ``count`` ratings of distinct ``values``."""
    if not count:
        raise TooFewRatings(
            f"there are no ratings to learn from: {'; '.join(dropped) or 'none were found'}. "
            "Give base data (--base; `marquee data fetch` downloads some), or a database that holds more ratings"
        )
    if not likes and len(values) == 1:
        raise TooFewRatings(f"all {count} ratings are {values[0]:g}: nothing can be learnt from a constant")


def latest_per_pair(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the newest row of each (user, movie), in order of time, user and movie.

    At equal times it is the row with the highest value.
    """
    (pairs,), _ = interaction_frames.pair_numbers([frame])
    times, values = frame["time"].to_numpy(np.int64), frame["value"].to_numpy(np.float64)
    order = np.lexsort((values, times, pairs))
    last = np.ones(len(order), bool)
    last[:-1] = np.diff(pairs[order]) != 0
    kept = order[last]
    return frame.iloc[kept[np.lexsort((pairs[kept], times[kept]))]]


def known_movies(frames: Sequence[pd.DataFrame], listed: Set[str], min_users: int) -> set[str]:
    """Return the movies in ``listed``, and those that at least ``min_users`` users rated or watched.

    A corrupted record can name a movie that does not exist. Such an id usually occurs once and must not be recommended.
    """
    pairs, movies = interaction_frames.pair_numbers(frames)
    distinct = np.unique(np.concatenate(pairs))
    distinct %= max(1, len(movies))
    users = np.bincount(distinct, minlength=len(movies))
    return {*listed, *(movies[i] for i in np.flatnonzero(users >= min_users))}


def _refuse(ratings: pd.DataFrame, invalid: NDArray[np.bool_], problem: str) -> None:
    if invalid.any():
        examples = ratings[invalid].head(3)
        listed = "; ".join(f"user {r.user_id}, movie {r.movie_id}: {r.value}" for r in examples.itertuples())
        raise TrainingDataError(
            f"{invalid.sum()} of {len(ratings)} ratings {problem} (the first: {listed}). "
            "Fix or remove them, or name the scale of the base data (--scale 0.5-5); MARQUEE_RATING_SCALE and "
            "params.yaml set the other scales"
        )
