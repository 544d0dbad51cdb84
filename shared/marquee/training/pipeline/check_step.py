"""Whether there is something to learn from, and whether it is like what there was before."""

from __future__ import annotations

from pathlib import Path

from marquee.config import atomic_file
from marquee.data import base_checks, deterministic_io, snapshot
from marquee.data.dataset import Dataset
from marquee.data.sources import Source, together
from marquee.training import snapshot_drift
from marquee.training.params import Params
from marquee.training.pipeline.pipeline_run import CHECKED, CHECKS, LAST, SNAPSHOT, CheckReport, Run


def check(run: Run) -> None:
    """Schema, ranges, duplicates, films that do not exist, drift; on the scale of the stream from here on.

    Raises :class:`TrainingDataError` where nothing can be learnt. Drift does not stop the run: the gate
    refuses the model, which is kept for whoever wants to know whether the world has changed.
    """
    taken, data = snapshot.read(run.at(SNAPSHOT)), run.params.data
    low, high = data.rating_min, taken.about.rating_max
    base_checks.refuse_unsound(taken.base.ratings, low, data.base_rating_max)
    base_checks.refuse_unsound(taken.live.ratings, low, high)
    found = _sources_of(taken, run.params)
    films = base_checks.trusted_films([found.ratings, found.viewings], found.films, data.unlisted_film_users)
    trusted = found.ratings[found.ratings["movie_id"].isin(films)]
    ratings = base_checks.learnable(trusted)
    viewings = base_checks.newest_of_each_pair(found.viewings[found.viewings["movie_id"].isin(films)])
    last = _profile_at(run.at(LAST))
    profile = snapshot_drift.profile(Dataset.of(ratings, viewings, low, high))
    with atomic_file.whole_directory(run.at(CHECKED)) as out:
        deterministic_io.write_interactions(out / "ratings.parquet", ratings)
        deterministic_io.write_interactions(out / "viewings.parquet", viewings)
    report = CheckReport(
        profile,
        len(trusted) - len(ratings),
        len(found.ratings) - len(trusted),
        snapshot_drift.findings(last, profile, run.params.drift),
    )
    deterministic_io.write_json(run.at(CHECKS), report)


def _sources_of(taken: snapshot.Snapshot, params: Params) -> Source:
    """Base data and stream together, on the scale of the stream."""
    base = taken.base.on_scale(params.data.rating_min, params.data.base_rating_max, taken.about.rating_max)
    return together(base, taken.live)


def _profile_at(path: Path) -> snapshot_drift.Profile | None:
    return (
        deterministic_io.read_json(path, snapshot_drift.Profile)
        if path.read_bytes().strip() != b"null"
        else None
    )
