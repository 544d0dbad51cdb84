"""Tests of the running baselines: each answer uses earlier events alone."""

from __future__ import annotations

import numpy as np
import pytest

from marquee.backtest.event_stream import EventStream
from marquee.backtest.running_models import (
    BIASES,
    RIVER,
    RunningBiases,
    RunningPopularity,
    has_river,
    run_popularity,
    run_rating_model,
)
from marquee.models.popularity import PopularityParams

DAY = 86_400_000_000


def test_running_biases_equal_hand_calculation() -> None:
    """Ratings 5 and 3: mean 4; the user's residuals 0 and -1 under shrinkage 1."""
    model = RunningBiases(3.0, shrinkage=1.0)
    assert model.predict(0, 0) == 3.0
    model.learn(0, 0, 5.0)
    model.learn(0, 1, 3.0)
    assert model.predict(0, 9) == pytest.approx(4 - 1 / 3)
    assert model.predict(8, 1) == pytest.approx(4 - 1 / 2)


def test_running_popularity_equals_decayed_sums() -> None:
    """Over ten years, so that the weights have been rescaled: ratios equal those of the formula."""
    rng = np.random.default_rng(0)
    times, items = np.sort(rng.integers(0, 3650 * DAY, 800)), rng.integers(0, 6, 800)
    model = RunningPopularity(6, half_life_days=20)
    for time, item in zip(times.tolist(), items.tolist(), strict=True):
        model.learn(item, 0.5, time)
    expected = np.bincount(items, 0.5 ** ((times[-1] - times) / (20 * DAY)), 6)
    np.testing.assert_allclose(model.scores / model.scores.sum(), expected / expected.sum(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "name", [BIASES, pytest.param(RIVER, marks=pytest.mark.skipif(not has_river(), reason="NOT TESTED: no river here"))]
)
def test_run_rating_model_later_ratings_change_nothing(stream: EventStream, name: str) -> None:
    """A prediction is made before its rating is learned, and before all later ones."""
    rows, predicted = (run_rating_model(name, stream, 120, 600, 1)[key] for key in ("rows", "predicted"))
    assert rows.tolist() == list(range(120, 600))
    stream.values[400:] = 6 - stream.values[400:]
    try:
        changed = run_rating_model(name, stream, 120, 600, 1)["predicted"]
    finally:
        stream.values[400:] = 6 - stream.values[400:]
    np.testing.assert_array_equal(predicted[:281], changed[:281])
    assert (predicted[281:] != changed[281:]).any()


def test_run_popularity_never_shows_a_seen_movie_first(stream: EventStream) -> None:
    """Each of ten lists has the movie at most once, and the counts add up to ten a list."""
    arrays = run_popularity(stream, 120, 600, 20, PopularityParams(14.0, 1000.0))
    lists = int(np.count_nonzero(arrays["position"].astype(int) >= 0))
    assert lists == int(stream.is_relevant[120:600].sum())
    assert int(arrays["shown"].sum()) == 10 * lists
