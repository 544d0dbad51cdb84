"""The steps of a retraining, each a function of what the step before it gave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from marquee.artifacts.artifact import write_artifact
from marquee.artifacts.manifest import Metric, Provenance
from marquee.artifacts.model import TrainedModel
from marquee.artifacts.object_store import ObjectStore
from marquee.evaluation.offline import Evaluation, evaluate
from marquee.telemetry.database import Database
from marquee.training import checks, sources, splits
from marquee.training.dataset import Dataset
from marquee.training.fit import fit
from marquee.training.params import Params
from marquee.training.trainer import Progress


@dataclass(frozen=True, slots=True)
class Request:
    """What to learn from: events before ``until``, of the base data only the first ``base_fraction``."""

    until: datetime
    base: Path | None
    base_fraction: float
    rating_max: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A checked dataset, and the hashes of what it was made from."""

    dataset: Dataset
    hashes: dict[str, str]

    @property
    def trained_through(self) -> datetime:
        """The time of the newest event."""
        parts = (self.dataset.ratings.times, self.dataset.viewings.times)
        newest = max(int(times.max()) for times in parts if len(times))
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=newest)


def collect(request: Request, database: Database | None, params: Params) -> sources.Source:
    """Base data and database together, on the scale of the stream."""
    found = sources.Source(sources.no_rows(), sources.no_rows())
    if request.base is not None:
        base = sources.read_base(request.base, request.until, request.base_fraction)
        low, high = params.data.rating_min, params.data.base_rating_max
        checks.refuse_unsound(base.ratings, low, high)
        found = base.on_scale(low, high, request.rating_max)
    if database is not None:
        found = sources.together(found, sources.read_database(database, request.until))
    return found


def check(found: sources.Source, request: Request, params: Params) -> Snapshot:
    """What can be learnt from; raises :class:`TrainingDataError` where that is nothing."""
    low, high, enough = params.data.rating_min, request.rating_max, params.data.unlisted_film_users
    checks.refuse_unsound(found.ratings, low, high)
    films = checks.trusted_films([found.ratings, found.viewings], found.films, enough)
    ratings = checks.learnable(found.ratings[found.ratings["movie_id"].isin(films)])
    viewings = checks.newest_of_each_pair(found.viewings[found.viewings["movie_id"].isin(films)])
    dataset = Dataset.of(ratings, viewings, low, high, found.facts)
    return Snapshot(dataset, {**dict(found.hashes), "dataset": dataset.sha256()})


def train_and_evaluate(snapshot: Snapshot, params: Params, progress: Progress) -> Evaluation:
    """A model of all but the newest slice, asked about that slice."""
    split = splits.newest(snapshot.dataset, params.newest)
    model = fit(split.train, params, progress)
    progress("evaluate", 0.0)
    result = evaluate(model, split, params.evaluation, params.seed, snapshot.hashes["dataset"])
    progress("evaluate", 1.0)
    return result


def store_artifact(
    store: ObjectStore, model: TrainedModel, snapshot: Snapshot, evaluation: Evaluation, origin: Provenance
) -> str:
    """Write the model that was trained on everything; returns its version."""
    return write_artifact(
        store,
        model,
        trained_through=snapshot.trained_through,
        metrics=manifest_metrics(evaluation),
        provenance=origin,
    )


def manifest_metrics(evaluation: Evaluation) -> dict[str, Metric]:
    """``rmse`` of the model, ``bias_only.rmse`` of a baseline, and so on."""
    return {
        name if candidate == "model" else f"{candidate}.{name}": Metric(f.value, f.low, f.high)
        for candidate, figures in evaluation.figures.items()
        for name, f in figures.items()
    }
