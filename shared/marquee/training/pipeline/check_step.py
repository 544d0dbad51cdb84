"""Whether there is something to learn from, and whether it is like what there was before."""

from __future__ import annotations

from pathlib import Path

from marquee.config import atomic_file
from marquee.data import base_checks, deterministic_io, snapshot
from marquee.data.dataset import Dataset
from marquee.data.sources import SourceData, merge_sources
from marquee.monitoring.drift import DataProfile
from marquee.training import snapshot_drift
from marquee.training.params import Params
from marquee.training.pipeline.pipeline_run import CHECKED, CHECKS, LAST, SNAPSHOT, CheckReport, PipelineRun


def check(run: PipelineRun) -> None:
    """Schema, ranges, duplicates, movies that do not exist, drift; on the scale of the stream from here on.

    Raises :class:`TrainingDataError` where nothing can be learnt. Drift does not stop the run: the gate
    refuses the model, which is kept for whoever wants to know whether the world has changed.
    """
    taken, data = snapshot.read_snapshot(run.at(SNAPSHOT)), run.params.data
    low, high = data.rating_min, taken.about.rating_max
    base_checks.validate_ratings(taken.base.ratings, low, data.base_rating_max)
    base_checks.validate_ratings(taken.live.ratings, low, high)
    found = _sources_of(taken, run.params)
    movies = base_checks.known_movies(
        [found.ratings, found.watch_sessions], found.movies, data.min_users_for_unlisted_movie
    )
    trusted = found.ratings[found.ratings["movie_id"].isin(movies)]
    ratings = base_checks.drop_duplicate_ratings(trusted)
    watch_sessions = base_checks.latest_per_pair(
        found.watch_sessions[found.watch_sessions["movie_id"].isin(movies)]
    )
    last = _profile_at(run.at(LAST))
    profile = snapshot_drift.profile(Dataset.from_frames(ratings, watch_sessions, low, high))
    with atomic_file.atomic_directory(run.at(CHECKED)) as out:
        deterministic_io.write_interactions(out / "ratings.parquet", ratings)
        deterministic_io.write_interactions(out / "watch_sessions.parquet", watch_sessions)
    report = CheckReport(
        profile,
        len(trusted) - len(ratings),
        len(found.ratings) - len(trusted),
        snapshot_drift.findings(last, profile, run.params.drift),
    )
    deterministic_io.write_json(run.at(CHECKS), report)


def _sources_of(taken: snapshot.Snapshot, params: Params) -> SourceData:
    """Base data and stream together, on the scale of the stream."""
    base = taken.base.on_scale(params.data.rating_min, params.data.base_rating_max, taken.about.rating_max)
    return merge_sources(base, taken.live)


def _profile_at(path: Path) -> DataProfile | None:
    return deterministic_io.read_json(path, DataProfile) if path.read_bytes().strip() != b"null" else None
