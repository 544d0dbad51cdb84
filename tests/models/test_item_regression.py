"""The regression of the EASE ranker: its exact solution, and the two ways to apply it without forming it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import csr_array

from marquee.errors import SettingsError
from marquee.models.dense_inverse import DenseInverse, dense_gram, invert_in_place
from marquee.models.item_regression import InverseGram, ItemRegression, ScoreOperator, reduce_rank, solve_regression
from marquee.models.iterative_inverse import IterativeInverse

RIDGE, DROPOUT = 30.0, 0.3
N_ITEMS = 700  # More than a block of rows.


@pytest.fixture(scope="module")
def matrices() -> tuple[csr_array, csr_array]:
    """Histories of 400 users with groups of similar items and a long tail, and targets that differ from them."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 10, N_ITEMS)
    likes = rng.integers(0, 10, 400)
    popularity = 1 / (np.arange(N_ITEMS) + 5.0)
    chance = np.minimum(1.0, 25 * popularity * np.where(likes[:, None] == group, 3.0, 0.2))
    seen = rng.random((400, N_ITEMS)) < chance
    values = rng.random(seen.shape) * seen
    return csr_array(values), csr_array(values * (rng.random(seen.shape) < 0.7))


def test_solve_regression_minimizes_its_loss() -> None:
    """The gradient of the loss is zero off the diagonal, and the diagonal is zero.

    The loss is ||Y - XB||^2 + ridge ||B||^2 + dropout ||diag(X^T X)^(1/2) B||^2.
    """
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 6)), rng.random((30, 6))
    b = solve_regression(csr_array(x), csr_array(y), 2.0, 0.3)
    gradient = x.T @ (x @ b - y) + (2.0 + 0.3 * np.diag(x.T @ x))[:, None] * b
    np.testing.assert_allclose(gradient - np.diag(np.diag(gradient)), 0, atol=1e-9)
    np.testing.assert_array_equal(np.diag(b), 0)


def test_solve_regression_history_as_target_equals_ease() -> None:
    """With targets equal to the history and no dropout the closed form is Steck's: -P / diag(P)."""
    x = np.random.default_rng(0).random((30, 6))
    inverse = np.linalg.inv(x.T @ x + 2.0 * np.eye(6))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(solve_regression(csr_array(x), csr_array(x), 2.0), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("invert", "tolerance"),
    [
        (lambda regression: DenseInverse(regression, dense_gram(regression.history_by_item)), 1e-4),
        (lambda regression: IterativeInverse(regression, N_ITEMS, 1e-5), 1e-3),
    ],
    ids=["dense", "iterative, all in the head"],
)
def test_score_operator_equals_the_formed_weights(
    matrices: tuple[csr_array, csr_array], invert: Callable[[ItemRegression], InverseGram], tolerance: float
) -> None:
    """B and B'X'X B as operators equal those of the exact solution, and the diagonal of B is 0."""
    history, targets = matrices
    exact = solve_regression(history, targets, RIDGE, DROPOUT)
    regression = ItemRegression(history, targets, RIDGE, DROPOUT)
    operator = ScoreOperator(regression, invert(regression))
    everything = np.eye(N_ITEMS, dtype=np.float32)
    weights, gram = operator.weigh(everything), operator.score_gram(everything)
    assert np.linalg.norm(weights - exact) < tolerance * np.linalg.norm(exact)
    expected = exact.T @ (history.T @ (history @ exact))
    assert np.linalg.norm(gram - expected) < tolerance * np.linalg.norm(expected)
    assert np.abs(np.diag(weights)).max() < tolerance * np.abs(exact).max()


@pytest.mark.parametrize("head_items", [70, 300])
def test_iterative_inverse_scores_equal_those_of_the_dense_one(
    matrices: tuple[csr_array, csr_array], head_items: int
) -> None:
    """With multipliers from a head of a tenth of the items the scores of unseen items hardly differ."""
    history, targets = matrices
    regression = ItemRegression(history, targets, RIDGE, DROPOUT)
    dense, iterative = (
        reduce_rank(ScoreOperator(regression, inverse), 20, 0)
        for inverse in (
            DenseInverse(regression, dense_gram(regression.history_by_item)),
            IterativeInverse(regression, head_items),
        )
    )
    unseen = history.toarray() == 0
    exact, scores = ((history @ f.rank_history @ f.rank_items.T)[unseen] for f in (dense, iterative))
    assert np.corrcoef(exact, scores)[0, 1] > 0.98


@pytest.mark.parametrize("rank", [1, 4, 30])
def test_reduce_rank_gives_best_approximation(rank: int) -> None:
    """The scores are the best approximation of their rank to the full scores (Eckart and Young)."""
    rng = np.random.default_rng(1)
    x, t = csr_array(rng.random((50, 30)) ** 4), csr_array(rng.random((50, 30)))
    b = solve_regression(x, t, 2.0)
    regression = ItemRegression(x, t, 2.0, 0.0)
    factors = reduce_rank(
        ScoreOperator(regression, DenseInverse(regression, dense_gram(regression.history_by_item))), rank, 0
    )
    left, scale, right = np.linalg.svd(x @ b, full_matrices=False)
    best = (left[:, :rank] * scale[:rank]) @ right[:rank]
    error = np.linalg.norm(x @ b - (x @ factors.rank_history) @ factors.rank_items.T)
    assert error == pytest.approx(np.linalg.norm(x @ b - best), rel=1e-3, abs=1e-3)


def test_invert_in_place_fills_both_triangles() -> None:
    """The result is the inverse, symmetric to the last bit, in the memory of the argument."""
    rng = np.random.default_rng(0)
    root = rng.standard_normal((1100, 1100)).astype(np.float32)
    gram = root @ root.T + 100 * np.eye(1100, dtype=np.float32)
    matrix = gram.copy()
    invert_in_place(matrix)
    np.testing.assert_allclose(matrix @ gram, np.eye(1100), atol=1e-3)
    np.testing.assert_array_equal(matrix, matrix.T)


def test_invert_in_place_singular_matrix_is_refused() -> None:
    """The error says that a larger ridge helps."""
    with pytest.raises(SettingsError, match=r"rankers\.ease\.ridge is too small"):
        invert_in_place(np.ones((3, 3), np.float32) - 2 * np.eye(3, dtype=np.float32))
