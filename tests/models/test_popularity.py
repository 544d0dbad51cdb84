"""Recent popularity is decayed counts with a prior at the all-time distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.synthetic_data import DAY, blocks, dataset, frame

from marquee.data.interactions import WeightedInteractions
from marquee.models.popularity import PopularityParams, fit_popularity
from marquee.scoring.interaction_weights import interaction_weight


def test_fit_popularity_older_likes_count_less() -> None:
    """A like halves with the half-life, and each item has the fraction that the decayed counts give."""
    data = dataset(frame(("u", "old+1", 5.0, 0), ("v", "new+1", 5.0, 10 * DAY), ("v", "bad+1", 1.0, 10 * DAY)))
    interactions = WeightedInteractions.from_dataset(data)
    result = fit_popularity(interactions, 3, PopularityParams(half_life_days=10, prior_likes=0))
    fractions = {movie_id: result.recent[i] for i, movie_id in enumerate(data.movie_ids)}
    disliked = interaction_weight(1.0, None, 1, 5)
    liked = interaction_weight(5.0, None, 1, 5)
    total = 1.5 * liked + disliked
    expected = {"new+1": liked / total, "old+1": 0.5 * liked / total, "bad+1": disliked / total}
    assert fractions == pytest.approx(expected)


@given(st.floats(0.1, 1000), st.floats(0, 1000))
def test_fit_popularity_any_parameters_give_a_distribution(half_life: float, prior: float) -> None:
    """Fractions are not negative and sum to 1, and growth is finite."""
    interactions = WeightedInteractions.from_dataset(dataset(blocks(2, 5, 4)))
    result = fit_popularity(interactions, 9, PopularityParams(half_life, prior))
    assert result.recent.sum() == pytest.approx(1)
    assert (result.recent >= 0).all()
    assert np.isfinite(result.growth).all()


def test_fit_popularity_one_new_like_keeps_the_prior() -> None:
    """After one like decades later, the old items have nearly their previous fractions."""
    rows = [(f"u{n}", f"f{n % 5}+1", 5.0, n) for n in range(50)]
    data = dataset(frame(*rows, ("new", "f5+1", 5.0, 9000 * DAY)))
    interactions = WeightedInteractions.from_dataset(data)
    result = fit_popularity(interactions, 6, PopularityParams(14, 1000))
    assert result.recent[:5] == pytest.approx(0.2, rel=0.05)
