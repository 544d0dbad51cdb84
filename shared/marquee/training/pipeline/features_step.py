"""Numbers for ids and facts."""

from __future__ import annotations

from marquee.data import deterministic_io, snapshot
from marquee.data.dataset import Dataset
from marquee.data.dataset_files import write_dataset
from marquee.training.pipeline.pipeline_run import CHECKED, FEATURES, SNAPSHOT, PipelineRun


def features(run: PipelineRun) -> None:
    """Row numbers for ids, and what is known of users and movies as blocks of numbers."""
    taken = snapshot.read_snapshot(run.at(SNAPSHOT))
    ratings, watch_sessions = (
        deterministic_io.read_interactions(run.at(CHECKED) / f"{name}.parquet")
        for name in ("ratings", "watch_sessions")
    )
    low, high = run.params.data.rating_min, taken.about.rating_max
    write_dataset(run.at(FEATURES), Dataset.from_frames(ratings, watch_sessions, low, high, taken.base.side_information))
