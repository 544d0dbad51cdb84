"""Engine ``spark``: the steps of the pipeline on a cluster.

The steps have the names and the reports of the local ones, so that the release policy decides on the same evidence.
Rows of users are in the object store and on the workers (:mod:`marquee.training.cluster.user_shards`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from marquee.config.timestamps import to_microseconds
from marquee.data import deterministic_io
from marquee.data.dataset_files import read_model, write_model
from marquee.data.side_information import SideInformation
from marquee.db.privacy_marks import MarkSet, is_pseudonym
from marquee.errors import SettingsError, TrainingDataError, TransientError
from marquee.evaluation.artifact_candidate import SERVING
from marquee.evaluation.paired_test import NDCG, RMSE, PairedComparison, too_few
from marquee.models import cohort_preferences
from marquee.models.ease import describe_method
from marquee.registry.artifact import UserSource
from marquee.registry.manifest import Provenance, read_manifest
from marquee.registry.movie_metadata import collect_metadata
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.trained_model import TrainedModel
from marquee.training import provenance
from marquee.training.cluster import checked_shards, snapshot_parts
from marquee.training.cluster.checked_shards import LAST, find_split_time, read_catalog
from marquee.training.cluster.item_models import fit_item_model, sample_users
from marquee.training.cluster.shard_evaluation import BIAS_ONLY, POPULARITY, ItemModel, measure_shard
from marquee.training.cluster.shard_results import ShardResults
from marquee.training.cluster.spark_session import open_session, sum_partitions
from marquee.training.cluster.user_shards import Catalog, Shard, StagedUsers, Staging, digest_shards, open_shards
from marquee.training.pipeline.evaluate_step import Comparisons
from marquee.training.pipeline.pipeline_run import (
    CHECKS_REPORT,
    COMPARISONS_REPORT,
    FAIRNESS_REPORT,
    FEATURES,
    FULL_MODEL,
    HOLDOUT_MODEL,
    HOLDOUT_REPORT,
    SERVING_PROFILE,
    SERVING_TUNING,
    SNAPSHOT,
    TUNING_REPORT,
    PipelineRun,
)
from marquee.training.pipeline.snapshot_step import write_serving
from marquee.training.pipeline.steps import PipelineStep
from marquee.training.pipeline.tune_step import TUNED_RANKER, read_choice, tune_ranker
from marquee.training.tuning import TuningChoice

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import SparkSession

    from marquee.training.params import Params

TRAINER = "variational_bayes"
_STAGING, _BASELINE = "data/pipeline/staging.json", "data/pipeline/baseline"
_DECLARED = {"genres"}


class _StagingName(msgspec.Struct, frozen=True):
    """Name of the run's folder in the object store, which survives a kill."""

    run: str


class SparkEngine:
    """Steps on the cluster of one Spark session; ``root`` is the directory of the run."""

    def __init__(self, spark: SparkSession, params: Params, objects_url: str, root: Path) -> None:
        self._spark = spark
        self._params = params
        self._objects_url = objects_url
        self._name_file = root / _STAGING
        self._opened: RDD[Shard] | None = None
        self._found: dict[str, Any] = {}
        self.steps: Mapping[str, PipelineStep] = {
            "snapshot": PipelineStep(self._take_snapshot, (), (SNAPSHOT, SERVING_PROFILE, SERVING_TUNING, _STAGING)),
            "check": PipelineStep(self._check, (SNAPSHOT, SERVING_PROFILE), (FEATURES, CHECKS_REPORT)),
            "tune": PipelineStep(self._tune, (FEATURES, SERVING_TUNING), (TUNING_REPORT,)),
            "train": PipelineStep(self._train, (FEATURES, TUNING_REPORT), (HOLDOUT_MODEL, FULL_MODEL, _BASELINE)),
            "evaluate": PipelineStep(
                self._evaluate,
                (FEATURES, HOLDOUT_MODEL, _BASELINE),
                (HOLDOUT_REPORT, COMPARISONS_REPORT, FAIRNESS_REPORT),
            ),
        }

    @cached_property
    def staging(self) -> Staging:
        """Rows of the run in the object store: those of a killed run with the same inputs, or new ones."""
        return _find_staging(self._objects_url, self._name_file)

    def load_full_model(self, run: PipelineRun) -> tuple[TrainedModel, UserSource]:
        """Return the item side of the model of all data, and its users, whose blocks the workers write now."""
        movies = self._movies(run)
        model = read_model(run.path(FULL_MODEL))
        users = StagedUsers(self._shards(run), read_catalog(run), self.staging, model)
        model = cohort_preferences.with_cohorts(model, SideInformation({}, movies))
        return replace(model, metadata=collect_metadata(model.movie_ids, movies)), users

    def compare_with_serving(self, run: PipelineRun, store: ObjectStore, version: str) -> list[PairedComparison]:
        """Compare the new model with the artifact ``version``, as ``serving_comparison.compare_with_serving``."""
        catalog, params = read_catalog(run), run.params
        trained_through = to_microseconds(read_manifest(store, version).trained_through)
        cut = self._split_time(run)
        if trained_through < cut:
            items = self._holdout_model(run)
        else:
            cut = trained_through + 1
            users = self._shards(run).map(partial(_count_test_users, catalog, cut)).sum()
            if users < params.release_policy.min_users:
                return [too_few(metric, SERVING, int(users)) for metric in (RMSE, NDCG)]
            items = fit_item_model(self._shards(run), catalog, cut, params, {}, self._movies(run), run.progress)
        results = self._measure(run, cut, items, (self.staging.url, version))
        test = msgspec.structs.replace(params.release_policy, min_users=params.fairness.min_users)
        return [
            results.compare(RMSE, SERVING, params.release_policy.against_serving(RMSE)),
            results.compare(NDCG, SERVING, params.release_policy),
            *results.compare_fairness(SERVING, test),
        ]

    def collect_provenance(self, run: PipelineRun, commit: str) -> Provenance:
        """Return the provenance of the model. It has no snapshot: the run's is deleted with its other rows."""
        about, _ = snapshot_parts.read_item_side(run)
        method = describe_method(run.params.rankers[run.params.ranker], len(read_catalog(run).movie_ids))
        data = {**about.files, "dataset": self._digest(run)}
        return provenance.describe_run(
            run, commit, trainer=TRAINER, ranking_method=f"{TUNED_RANKER}: {method}", data=data, database=about.database
        )

    def refuse_marked(self, run: PipelineRun, marks: MarkSet) -> None:
        """Raise :class:`TrainingDataError` if a user of the snapshot is marked, or an id was replaced."""
        if self._shards(run).map(partial(_holds_marked, marks)).sum():
            raise TrainingDataError(
                "a user of the snapshot was forgotten, or ids were replaced by pseudonyms, while the model was "
                "trained: train again"
            )

    def clean_up(self) -> None:
        """Delete the rows of the run from the object store."""
        if self._name_file.exists():
            self.staging.delete()

    def _take_snapshot(self, run: PipelineRun) -> None:
        snapshot_parts.write_parts(self._spark.sparkContext, self.staging, run, self._params.spark.shards)
        write_serving(run)

    def _check(self, run: PipelineRun) -> None:
        checked_shards.build_shards(self._spark, self.staging, run, self._params.spark.shards)

    def _tune(self, run: PipelineRun) -> None:
        params = run.params
        sample = sample_users(self._shards(run), read_catalog(run), self._split_time(run), params.tuning.max_ratings)
        previous = deterministic_io.read_json(run.path(SERVING_TUNING), TuningChoice)
        deterministic_io.write_json(run.path(TUNING_REPORT), tune_ranker(sample, params, previous))

    def _train(self, run: PipelineRun) -> None:
        catalog, chosen, movies = read_catalog(run), read_choice(run).chosen, self._movies(run)
        for name, cut in ((HOLDOUT_MODEL, self._split_time(run)), (FULL_MODEL, LAST)):
            fitted = fit_item_model(self._shards(run), catalog, cut, run.params, chosen, movies, run.progress)
            write_model(run.path(name), fitted.model)
            if name == HOLDOUT_MODEL:
                run.path(_BASELINE).mkdir(parents=True, exist_ok=True)
                deterministic_io.write_array(run.path(_BASELINE) / "biases.npy", fitted.bias_only)
                deterministic_io.write_array(run.path(_BASELINE) / "rated.npy", fitted.rated)

    def _evaluate(self, run: PipelineRun) -> None:
        params = run.params
        results = self._measure(run, self._split_time(run), self._holdout_model(run), None)
        evaluation = results.evaluate(f"newest {params.holdout_fraction:.0%}")
        comparisons = [
            results.compare(RMSE, BIAS_ONLY, params.release_policy),
            results.compare(NDCG, POPULARITY, params.release_policy),
        ]
        report = Comparisons({f"{c.metric} against {c.baseline}": c for c in comparisons})
        deterministic_io.write_json(run.path(HOLDOUT_REPORT), evaluation)
        deterministic_io.write_json(run.path(COMPARISONS_REPORT), report)
        deterministic_io.write_json(run.path(FAIRNESS_REPORT), results.fairness(params.fairness))

    def _measure(self, run: PipelineRun, cut: int, items: ItemModel, serving: tuple[str, str] | None) -> ShardResults:
        catalog, evaluation = read_catalog(run), run.params.evaluation
        measure = partial(measure_shard, catalog, cut, items, evaluation.resamples, serving)
        totals = sum_partitions(self._shards(run).map(measure))
        return ShardResults(totals, evaluation, run.params.seed, self._digest(run))

    def _holdout_model(self, run: PipelineRun) -> ItemModel:
        biases, rated = (deterministic_io.read_array(run.path(_BASELINE) / f"{n}.npy") for n in ("biases", "rated"))
        return ItemModel(read_model(run.path(HOLDOUT_MODEL)), biases, rated)

    def _movies(self, run: PipelineRun) -> dict[str, dict[str, str]]:
        return snapshot_parts.read_item_side(run)[1]

    def _shards(self, run: PipelineRun) -> RDD[Shard]:
        if self._opened is None:
            self._opened = open_shards(self._spark.sparkContext, self.staging, read_catalog(run).shards)
        return self._opened

    def _split_time(self, run: PipelineRun) -> int:
        if "split_time" not in self._found:
            self._found["split_time"] = find_split_time(self._shards(run), run.params.holdout_fraction)
        split_time: int = self._found["split_time"]
        return split_time

    def _digest(self, run: PipelineRun) -> str:
        if "digest" not in self._found:
            self._found["digest"] = digest_shards(self._shards(run), read_catalog(run))
        digest: str = self._found["digest"]
        return digest


@contextmanager
def open_engine(params: Params, objects_url: str, root: Path, *, resumable: bool = False) -> Iterator[SparkEngine]:
    """Open the engine for the block. Its rows in the object store are deleted unless the process is killed.

    A ``resumable`` run also keeps them if a retry may help. Raises :class:`SettingsError` if it cannot run with
    ``params``.
    """
    _check_params(params)
    with open_session(params.spark) as spark:
        engine = SparkEngine(spark, params, objects_url, root)
        try:
            yield engine
        except TransientError:
            if not resumable:
                engine.clean_up()
            raise
        except BaseException:
            engine.clean_up()
            raise
        engine.clean_up()


def _check_params(params: Params) -> None:
    if params.ranker != TUNED_RANKER:
        raise SettingsError(f"engine: spark has the ranker {TUNED_RANKER}; params.yaml names {params.ranker!r}")
    if others := set(params.data.user_attributes) - _DECLARED:
        raise SettingsError(
            f"engine: spark has no cohorts of {', '.join(sorted(others))}: remove them from data.user_attributes in "
            "params.yaml, or use engine: local"
        )


def _find_staging(objects_url: str, path: Path) -> Staging:
    """Return the staging area of the run in the directory of ``path``: that of a killed run, or a new one."""
    if path.exists():
        return Staging(objects_url, deterministic_io.read_json(path, _StagingName).run)
    staging = Staging(objects_url, secrets.token_hex(8))
    path.parent.mkdir(parents=True, exist_ok=True)
    deterministic_io.write_json(path, _StagingName(staging.run))
    return staging


def _count_test_users(catalog: Catalog, cut: int, shard: Shard) -> int:
    return len(np.unique(shard.split(catalog, cut).test.users))


def _holds_marked(marks: MarkSet, shard: Shard) -> int:
    replaced = marks.pseudonyms and not all(map(is_pseudonym, shard.user_ids))
    return len(marks.find(shard.user_ids)) + bool(replaced)
