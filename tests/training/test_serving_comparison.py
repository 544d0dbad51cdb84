"""Comparison with the serving model, and the stored artifact as a candidate of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.synthetic_data import SECOND
from tests.training.runs import retrain_until, run_steps

from marquee.data.dataset_files import read_dataset, read_model
from marquee.evaluation import artifact_candidate
from marquee.evaluation.baselines import model_candidate
from marquee.registry.item_store import read_items
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.pipeline.pipeline_run import FEATURES, FULL_MODEL
from marquee.training.serving_comparison import compare_with_serving


def test_compare_with_serving_uses_ratings_unseen_by_both(store: ObjectStore, block_base: Path, tmp_path: Path) -> None:
    """A serving model that has learned from most of the holdout is compared on later ratings only.

    Its rival is trained on the same data with the same parameters, so both are the same model to the bit.
    """
    serving = retrain_until(store, block_base, 970)
    assert serving.version is not None
    assert serving.trained_through is not None
    run = run_steps(block_base, tmp_path / "run", 1000)
    ratings = read_dataset(run.path(FEATURES)).ratings
    later = ratings.times > serving.trained_through.timestamp() * SECOND
    rmse, *_ = compare_with_serving(run, store, serving.version)
    assert rmse.users == len(np.unique(ratings.users[later])) >= 20
    assert rmse.difference == pytest.approx(0, abs=1e-6)


def test_artifact_candidate_predicts_as_its_model(store: ObjectStore, block_base: Path, tmp_path: Path) -> None:
    """An artifact read from its files gives every rating and ranking score that its model gave."""
    version = retrain_until(store, block_base, 1000).version
    run = run_steps(block_base, tmp_path / "run", 1000)
    data = read_dataset(run.path(FEATURES))
    assert version is not None
    stored = artifact_candidate.load_candidate(store, version, data)
    model = model_candidate(read_model(run.path(FULL_MODEL)))
    assert stored.rate is not None
    assert stored.score is not None
    assert model.rate is not None
    assert model.score is not None
    users, items = np.divmod(np.arange(data.n_users * data.n_items, dtype=np.int32), data.n_items)
    assert np.allclose(stored.rate(users, items), model.rate(users, items), atol=1e-5)
    some_users = np.arange(0, data.n_users, 7, dtype=np.int32)
    assert np.allclose(stored.score(some_users), model.score(some_users), atol=1e-4)


def test_artifact_candidate_unknown_users_and_movies_get_valid_scores(
    store: ObjectStore, block_base: Path, tmp_path: Path
) -> None:
    """Unknown users and movies get finite ratings on the scale, and unknown movies are ranked last."""
    version = retrain_until(store, block_base, 60).version  # Some users and movies have no event by then.
    data = read_dataset(run_steps(block_base, tmp_path / "run", 1000).path(FEATURES))
    assert version is not None
    stored = artifact_candidate.load_candidate(store, version, data)
    assert stored.rate is not None
    assert stored.score is not None
    users, items = np.divmod(np.arange(data.n_users * data.n_items, dtype=np.int32), data.n_items)
    ratings = stored.rate(users, items)
    assert ((ratings >= 1) & (ratings <= 5)).all()
    known = np.isin(data.movie_ids, list(read_items(store, version).items))
    scores = stored.score(np.arange(data.n_users, dtype=np.int32))
    assert not known.all()
    assert (scores[:, ~known].max(axis=1) < scores[:, known].min(axis=1)).all()
