"""Pipeline step ``check``: validation, deduplication and drift of the snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pandas as pd

from marquee.config import atomic_file
from marquee.config.base_data import LIKES_SCALE
from marquee.data import base_checks, deterministic_io, snapshot
from marquee.data.dataset import Dataset
from marquee.data.sources import SourceData, merge_sources
from marquee.monitoring.drift import DataProfile
from marquee.training import snapshot_drift
from marquee.training.pipeline.pipeline_run import (
    CHECKED,
    CHECKS_REPORT,
    SERVING_PROFILE,
    SNAPSHOT,
    PipelineRun,
)


class CheckReport(msgspec.Struct, frozen=True):
    """Report of the step.

    ``duplicate_ratings`` counts ratings replaced by a newer one of the same user and movie.
    ``unlisted_ratings`` counts ratings of movies that the base data do not list and too few users know.
    ``left_out`` counts the rows that the snapshot leaves out, by table and cause.
    """

    profile: DataProfile
    duplicate_ratings: int
    unlisted_ratings: int
    drift: list[str]
    left_out: dict[str, int] = {}


def check_snapshot(run: PipelineRun) -> None:
    """Check schema, ranges, duplicates, movie ids and drift; write the checked data and a report.

    The output is on the event log's rating scale.

    Raises :class:`TrainingDataError` if nothing can be learned from the data. Drift does not stop the run: the
    release policy refuses the model, which is kept for analysis.
    """
    stored, params = snapshot.read_snapshot(run.path(SNAPSHOT)), run.params.data
    low, high = stored.about.rating_min, stored.about.rating_max
    base_scale = stored.about.scale or (params.rating_min, params.base_rating_max)
    base_checks.validate_ratings(stored.base.ratings, *base_scale)
    base_checks.validate_ratings(stored.live.ratings, low, high)
    data = merge_sources(stored.base.on_scale(*base_scale, low, high), stored.live)
    listed = _drop_unlisted_movies(data, params.min_users_for_unlisted_movie)
    ratings = base_checks.drop_duplicate_ratings(
        listed.ratings,
        describe_dropped(
            stored.about.left_out,
            len(data.ratings),
            len(data.ratings) - len(listed.ratings),
            params.min_users_for_unlisted_movie,
        ),
        likes=tuple(base_scale) == LIKES_SCALE,
    )
    watch_sessions = base_checks.latest_per_pair(listed.watch_sessions)
    serving_profile = read_profile(run.path(SERVING_PROFILE))
    profile = snapshot_drift.profile_dataset(Dataset.from_frames(ratings, watch_sessions, low, high))
    with atomic_file.atomic_directory(run.path(CHECKED)) as directory:
        deterministic_io.write_interactions(directory / "ratings.parquet", ratings)
        deterministic_io.write_interactions(directory / "watch_sessions.parquet", watch_sessions)
    report = CheckReport(
        profile=profile,
        duplicate_ratings=len(listed.ratings) - len(ratings),
        unlisted_ratings=len(data.ratings) - len(listed.ratings),
        drift=snapshot_drift.find_drift(serving_profile, profile, run.params.drift),
        left_out=stored.about.left_out,
    )
    deterministic_io.write_json(run.path(CHECKS_REPORT), report)


def read_checks(run: PipelineRun) -> CheckReport:
    """Return the report of the step."""
    return deterministic_io.read_json(run.path(CHECKS_REPORT), CheckReport)


def _drop_unlisted_movies(data: SourceData, min_users: int) -> SourceData:
    """Drop the rows of movies that the base data do not list and fewer than ``min_users`` users know."""
    movies = base_checks.known_movies([data.ratings, data.watch_sessions], data.movies, min_users)
    return replace(
        data, ratings=_of_movies(data.ratings, movies), watch_sessions=_of_movies(data.watch_sessions, movies)
    )


def _of_movies(frame: pd.DataFrame, movies: set[str]) -> pd.DataFrame:
    """Return the rows of ``movies``; the frame itself, not a copy, if it has no others."""
    rows = frame["movie_id"].isin(movies)
    return frame if rows.all() else frame[rows]


def describe_dropped(left_out: Mapping[str, int], ratings: int, unlisted: int, min_users: int) -> list[str]:
    """Return a sentence for each reason for which ratings are missing."""
    reasons = [f"{rows} rows were left out ({cause})" for cause, rows in left_out.items()]
    if unlisted:
        reasons.append(
            f"{unlisted} of {ratings} ratings are of movies that the base data do not list and fewer than "
            f"{min_users} users rated or watched (data.min_users_for_unlisted_movie)"
        )
    return reasons


def read_profile(path: Path) -> DataProfile | None:
    """Read the data profile of the serving model; None if no model serves."""
    return deterministic_io.read_json(path, DataProfile) if path.read_bytes().strip() != b"null" else None
