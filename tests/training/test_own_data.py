"""Own data: half stars, 0 to 10 and likes become a released model, and a scale changes nothing but the units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support import synthetic_data
from tests.training.runs import GOOD, retrain_until

from marquee.cli.main import main
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.trained_model import TrainedModel
from marquee.training.train_model import train_model

SCALES = {"half stars": ("0.5-5", 0.5, 5.0), "0 to 10": ("0-10", 0, 10), "likes and dislikes": ("likes", 0, 1)}


def write_csv(path: Path, low: float, high: float) -> Path:
    """Write the ratings of two groups of users on another scale."""
    ratings = synthetic_data.blocks()
    values = low + (ratings["value"] - 1) * (high - low) / 4
    table = ratings.assign(rating=values, time=ratings["time"] // synthetic_data.SECOND)
    table[["user_id", "movie_id", "rating", "time"]].to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", SCALES)
def test_retrain_imported_scale_trains_evaluates_and_releases(tmp_path: Path, name: str) -> None:
    """Without an option the model knows the scale: it passes the gate, on the scale of the log."""
    text, low, high = SCALES[name]
    source = write_csv(tmp_path / "mine.csv", low, high)
    assert main(["data", "import", str(source), "--to", str(tmp_path / "base"), "--scale", text]) == 0
    store = connect(f"file://{tmp_path}/objects")
    result = retrain_until(store, tmp_path / "base", 2000)
    assert result.outcome == "released", result
    assert result.version is not None
    manifest = read_manifest(store, result.version)
    assert (manifest.rating_min, manifest.rating_max) == (1.0, 5.0)


def test_retrain_likes_alone_rank_movies(tmp_path: Path) -> None:
    """All ratings are equal, which is no error for likes: movies are ranked, and predictions are the top."""
    ratings = synthetic_data.blocks()
    likes = ratings[ratings["value"] == 5.0].assign(time=lambda frame: frame["time"] // synthetic_data.SECOND)
    likes[["user_id", "movie_id", "time"]].to_csv(tmp_path / "likes.csv", index=False)
    source = str(tmp_path / "likes.csv")
    assert main(["data", "import", source, "--to", str(tmp_path / "base"), "--scale", "likes"]) == 0
    store = connect(f"file://{tmp_path}/objects")
    result = retrain_until(store, tmp_path / "base", 2000)
    assert result.outcome == "released", result


def test_train_model_scale_of_ten_is_the_scale_of_five_in_other_units() -> None:
    """Predictions, prior and noise are mapped as the ratings are, and the ranking is the same."""
    five = synthetic_data.dataset(synthetic_data.blocks())
    values = 1 + (five.ratings.values - 1) * 9 / 4
    ten = replace(five, ratings=replace(five.ratings, values=values), rating_max=10.0)
    one, other = train_model(five, GOOD), train_model(ten, GOOD)
    users, items = five.ratings.users, five.ratings.items

    def predict(model: TrainedModel) -> np.ndarray:
        dots = np.einsum("nk,nk->n", model.user_vectors[users], model.item_vectors[items])
        return np.asarray(model.mean + model.user_biases[users] + model.item_biases[items] + dots)

    np.testing.assert_allclose(predict(other), 1 + (predict(one) - 1) * 9 / 4, atol=1e-4)
    np.testing.assert_allclose(other.noise_precision, one.noise_precision * (4 / 9) ** 2, rtol=1e-5)
    np.testing.assert_allclose(other.prior_precision, one.prior_precision * (4 / 9) ** 2, rtol=1e-4)
    np.testing.assert_allclose(other.rank_items, one.rank_items, atol=1e-6)
