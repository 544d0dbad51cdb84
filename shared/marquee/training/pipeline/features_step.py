"""Pipeline step ``features``: the encoding of the dataset as row numbers and feature blocks."""

from __future__ import annotations

from marquee.data import deterministic_io, snapshot
from marquee.data.dataset import Dataset
from marquee.data.dataset_files import write_dataset
from marquee.training.pipeline.pipeline_run import CHECKED, FEATURES, SNAPSHOT, PipelineRun


def build_features(run: PipelineRun) -> None:
    """Assign row numbers to users and movies, and encode their side information as feature blocks."""
    about = snapshot.read_about(run.path(SNAPSHOT))
    ratings, watch_sessions = (
        deterministic_io.read_interactions(run.path(CHECKED) / f"{name}.parquet")
        for name in ("ratings", "watch_sessions")
    )
    low, high = about.rating_min, about.rating_max
    write_dataset(
        run.path(FEATURES),
        Dataset.from_frames(
            ratings,
            watch_sessions,
            low,
            high,
            snapshot.read_side_information(run.path(SNAPSHOT)),
            run.params.data.user_attributes,
        ),
    )
