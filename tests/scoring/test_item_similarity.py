"""Tests of the similarity of movies: what it is made of, and what does not count."""

from __future__ import annotations

import numpy as np

from marquee.scoring.item_similarity import ItemSimilarity


def _factors(n_items: int = 60, r: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(0, 1, (n_items, r)).astype("f4"), rng.normal(0, 1, (n_items, r)).astype("f4")


def test_item_similarity_without_length_is_symmetric() -> None:
    """Without the divisor, two movies are as similar in one direction as in the other."""
    items, history = _factors()
    similarity = ItemSimilarity(items, history, length_power=0.0)
    matrix = np.stack([similarity.scores(row) for row in range(len(items))])
    assert np.abs(matrix - matrix.T).max() < 1e-5


def test_item_similarity_popularity_and_trend_do_not_count() -> None:
    """Columns of popularity, and a trend in the rows, change no similarity."""
    items, history = _factors()
    trend = np.exp(np.random.default_rng(4).normal(0, 0.5, len(items))).astype("f4")
    popular = np.ones((len(items), 1), np.float32)
    grown = np.hstack([items * trend[:, None], 9 * np.abs(items[:, :1])])
    plain, full = ItemSimilarity(items, history), ItemSimilarity(grown, np.hstack([history, popular]), 1, trend)
    for row in (0, 17, 59):
        assert np.allclose(plain.scores(row), full.scores(row), rtol=1e-4, atol=1e-5)


def test_item_similarity_direction_of_high_gain_decides() -> None:
    """Of two movies, each equal to the first in one direction, the one in the direction of higher gain is nearer."""
    items = np.array([[1, 1], [1, 0], [0, 1]], np.float32)
    history = np.array([[2, 0], [0, 1], [0, 0]], np.float32)
    scores = ItemSimilarity(items, history).scores(0)
    assert scores[1] > 4 * scores[2] > 0


def test_item_similarity_movie_without_factors_is_similar_to_none() -> None:
    """A row of zeros has finite similarities: 0."""
    items, history = _factors()
    items[7] = 0
    scores = ItemSimilarity(items, history)
    assert not scores.scores(7).any()
    assert scores.scores(0)[7] == 0
