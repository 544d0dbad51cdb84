"""The steps of a retraining. Each reads files that the steps before it left and puts its own in place, whole.

``dvc repro`` runs each as a process of its own and skips what is up to date; `marquee retrain` runs the same
functions one after the other in one process, in a directory that is gone afterwards. Either way the files,
and so their hashes and the model, are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from marquee.artifacts import release
from marquee.artifacts.manifest import read_manifest
from marquee.artifacts.object_store import ObjectStore
from marquee.errors import ArtifactRefused, ObjectNotFound
from marquee.evaluation.candidates import bias_only, of_model, popularity
from marquee.evaluation.offline import Evaluation
from marquee.evaluation.offline import evaluate as evaluated
from marquee.telemetry.database import Database
from marquee.training import checks, comparison, drift, fairness, snapshot, splits, tables
from marquee.training.comparison import Comparison
from marquee.training.dataset import Dataset
from marquee.training.dataset_files import read_dataset, read_model, write_dataset, write_model
from marquee.training.fit import fit
from marquee.training.params import Params
from marquee.training.sources import Source, together
from marquee.training.trainer import Progress, silent

# Where each step leaves what, below the directory of the run. dvc.yaml says the same.
SNAPSHOT, LAST = "data/pipeline/snapshot", "data/pipeline/last.json"
CHECKED, CHECKS = "data/pipeline/checked", "reports/checks.json"
FEATURES = "data/pipeline/features"
PAST, WHOLE = "data/pipeline/past", "data/pipeline/whole"
NEWEST, COMPARISONS = "reports/newest.json", "reports/comparisons.json"
FAIRNESS = "reports/fairness.json"


@dataclass(frozen=True, slots=True)
class Run:
    """What every step is given: ``root``, the directory of the files, and ``params``.

    Only the first step looks at ``request``, ``database`` and ``store``, where the last snapshot's profile is
    found; what it finds is in its files from then on.
    """

    root: Path
    params: Params
    request: snapshot.Request
    database: Database | None = None
    store: ObjectStore | None = None
    progress: Progress = silent

    def at(self, name: str) -> Path:
        """Where a step's file or directory is."""
        return self.root / name


@dataclass(frozen=True, slots=True)
class Step:
    """``reads`` and ``writes``: the names above; of other inputs the step's text in dvc.yaml speaks."""

    run: Callable[[Run], None]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


class CheckReport(msgspec.Struct, frozen=True):
    """``doubled``: rows of a pair that has a newer one; ``unlisted``: rows of films that too few know."""

    profile: drift.Profile
    doubled: int
    unlisted: int
    drift: list[str]


class _Comparisons(msgspec.Struct, frozen=True):
    found: dict[str, Comparison]


def take_snapshot(run: Run) -> None:
    """Base data and database as of the event time, and the profile of the snapshot that serves."""
    snapshot.take(run.request, run.database, run.at(SNAPSHOT))
    tables.write_json(run.at(LAST), _last_profile(run.store))


def check(run: Run) -> None:
    """Schema, ranges, duplicates, films that do not exist, drift; on the scale of the stream from here on.

    Raises :class:`TrainingDataError` where nothing can be learnt. Drift does not stop the run: the gate
    refuses the model, which is kept for whoever wants to know whether the world has changed.
    """
    taken, data = snapshot.read(run.at(SNAPSHOT)), run.params.data
    low, high = data.rating_min, taken.about.rating_max
    checks.refuse_unsound(taken.base.ratings, low, data.base_rating_max)
    checks.refuse_unsound(taken.live.ratings, low, high)
    found = sources_of(taken, run.params)
    films = checks.trusted_films([found.ratings, found.viewings], found.films, data.unlisted_film_users)
    trusted = found.ratings[found.ratings["movie_id"].isin(films)]
    ratings = checks.learnable(trusted)
    viewings = checks.newest_of_each_pair(found.viewings[found.viewings["movie_id"].isin(films)])
    last = _profile_at(run.at(LAST))
    profile = drift.profile(Dataset.of(ratings, viewings, low, high))
    with tables.whole_directory(run.at(CHECKED)) as out:
        tables.write_interactions(out / "ratings.parquet", ratings)
        tables.write_interactions(out / "viewings.parquet", viewings)
    report = CheckReport(
        profile,
        len(trusted) - len(ratings),
        len(found.ratings) - len(trusted),
        drift.findings(last, profile, run.params.drift),
    )
    tables.write_json(run.at(CHECKS), report)


def features(run: Run) -> None:
    """Row numbers for ids, and what is known of users and films as blocks of numbers."""
    taken = snapshot.read(run.at(SNAPSHOT))
    ratings, viewings = (
        tables.read_interactions(run.at(CHECKED) / f"{name}.parquet") for name in ("ratings", "viewings")
    )
    low, high = run.params.data.rating_min, taken.about.rating_max
    write_dataset(run.at(FEATURES), Dataset.of(ratings, viewings, low, high, taken.base.facts))


def train(run: Run) -> None:
    """Two models: of the past, to be asked about the newest slice, and of the whole, to serve."""
    dataset = read_dataset(run.at(FEATURES))
    split = splits.newest(dataset, run.params.newest)
    write_model(run.at(PAST), fit(split.train, run.params, run.progress))
    write_model(run.at(WHOLE), fit(dataset, run.params, run.progress))


def evaluate(run: Run) -> None:
    """The model of the past on the newest slice, beside the baselines and against them."""
    run.progress("evaluate", 0.0)
    dataset, model, params = read_dataset(run.at(FEATURES)), read_model(run.at(PAST)), run.params
    split = splits.newest(dataset, params.newest)
    figures = evaluated(model, split, params.evaluation, params.seed, dataset.sha256())
    ours, settled = of_model(model), (split, params.gate, params.evaluation, params.seed)
    tables.write_json(run.at(NEWEST), figures)
    against = [
        comparison.by_rmse(ours, bias_only(split.train), *settled),
        comparison.by_ndcg(ours, popularity(model), *settled),
    ]
    found = _Comparisons({f"{c.metric} against {c.against}": c for c in against})
    tables.write_json(run.at(COMPARISONS), found)
    run.progress("evaluate", 1.0)


def judge_fairness(run: Run) -> None:
    """The error of the model of the past for each group of users."""
    dataset, params = read_dataset(run.at(FEATURES)), run.params
    found = fairness.by_group(
        read_model(run.at(PAST)),
        splits.newest(dataset, params.newest),
        snapshot.read(run.at(SNAPSHOT)).base.facts.users,
        params.fairness,
        params.evaluation,
        params.seed,
        dataset.sha256(),
    )
    tables.write_json(run.at(FAIRNESS), found)


STEPS = {
    "snapshot": Step(take_snapshot, (), (SNAPSHOT, LAST)),
    "check": Step(check, (SNAPSHOT, LAST), (CHECKED, CHECKS)),
    "features": Step(features, (SNAPSHOT, CHECKED), (FEATURES,)),
    "train": Step(train, (FEATURES,), (PAST, WHOLE)),
    "evaluate": Step(evaluate, (FEATURES, PAST), (NEWEST, COMPARISONS)),
    "fairness": Step(judge_fairness, (SNAPSHOT, FEATURES, PAST), (FAIRNESS,)),
}
"""All but the last, which is ``publication``: it changes what serves, and so is never skipped nor repeated."""


def run_all(run: Run) -> None:
    """Every step, in order, in this process."""
    for name, step in STEPS.items():
        run.progress(name, 0.0)
        step.run(run)
        run.progress(name, 1.0)


def read_evaluation(run: Run) -> Evaluation:
    """What the step ``evaluate`` found."""
    return tables.read_json(run.at(NEWEST), Evaluation)


def read_comparisons(run: Run) -> list[Comparison]:
    """How the model stands against the baselines."""
    return list(tables.read_json(run.at(COMPARISONS), _Comparisons).found.values())


def read_checks(run: Run) -> CheckReport:
    """What the step ``check`` found."""
    return tables.read_json(run.at(CHECKS), CheckReport)


def read_fairness(run: Run) -> fairness.Fairness:
    """What the step ``fairness`` found."""
    return tables.read_json(run.at(FAIRNESS), fairness.Fairness)


def sources_of(taken: snapshot.Snapshot, params: Params) -> Source:
    """Base data and stream together, on the scale of the stream."""
    base = taken.base.on_scale(params.data.rating_min, params.data.base_rating_max, taken.about.rating_max)
    return together(base, taken.live)


def _last_profile(store: ObjectStore | None) -> drift.Profile | None:
    """Of what serves, and never of a snapshot that was refused: drift does not become usual by repetition."""
    if store is None:
        return None
    try:
        serving = release.current(store)[0].arms[0].version
        profile = read_manifest(store, serving).provenance.profile
        return msgspec.convert(profile, drift.Profile) if profile else None
    except (ObjectNotFound, ArtifactRefused, msgspec.ValidationError):
        return None


def _profile_at(path: Path) -> drift.Profile | None:
    return tables.read_json(path, drift.Profile) if path.read_bytes().strip() != b"null" else None
