"""Interactions are weighted by the rule that the serving path uses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.synthetic_data import dataset, frame

from marquee.data.interactions import WeightedInteractions
from marquee.scoring.interaction_weights import interaction_weight


def test_weighted_interactions_rating_replaces_watch_session() -> None:
    """Every pair comes once with its serving weight; where both exist only the rating counts."""
    data = dataset(
        frame(("u", "a+1", 5.0, 1), ("u", "b+1", 1.0, 2)),
        frame(("u", "b+1", 120.0, 1), ("u", "c+1", 90.0, 3), ("v", "c+1", 2.0, 4)),
    )
    interactions = WeightedInteractions.from_dataset(data)
    expected = [
        (0, 0, 5.0, interaction_weight(5.0, None, 1, 5)),
        (0, 1, 1.0, interaction_weight(1.0, None, 1, 5)),
        (0, 2, None, interaction_weight(None, 90, 1, 5)),
        (1, 2, None, interaction_weight(None, 2, 1, 5)),
    ]
    rows = zip(interactions.users, interactions.items, interactions.ratings, interactions.weights, strict=True)
    assert [(u, i, None if np.isnan(r) else r, w) for u, i, r, w in rows] == expected


@given(st.floats(1, 10), st.floats(1, 10))
def test_interaction_weight_higher_rating_never_weighs_less(first: float, second: float) -> None:
    """This holds between whole ratings too, and every chosen item has a positive weight."""
    low, high = sorted((first, second))
    assert 0 < interaction_weight(low, None, 1, 10) <= interaction_weight(high, None, 1, 10)


def test_interaction_weight_depends_on_position_in_scale() -> None:
    """Equal positions on two scales have equal weights."""
    assert interaction_weight(10, None, 1, 10) == interaction_weight(5, None, 1, 5)
    assert interaction_weight(7.75, None, 1, 10) == pytest.approx(interaction_weight(4, None, 1, 5))
    assert interaction_weight(5.5, None, 1, 10) == pytest.approx(interaction_weight(3, None, 1, 5))
