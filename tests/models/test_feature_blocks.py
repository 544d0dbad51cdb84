"""Feature blocks are rotated without loss, and unknown rows are at the average."""

from __future__ import annotations

import numpy as np

from marquee.data.side_information import many_hot, one_hot
from marquee.models.bpmf.feature_blocks import build_implicit_block, leading_directions, rotate


def test_rotate_columns_are_orthogonal_and_keep_inner_products() -> None:
    """A rotation keeps the inner products of the centered rows."""
    block = np.hstack([one_hot(["a", "b", "", "a", "c"]), many_hot([["x", "y"], [], [], ["y"], ["x", "z", "w"]])])
    known = [0, 1, 3, 4]
    expected = block - block[known].mean(axis=0)
    expected[2] = 0.0
    rotated = rotate(block, 100, 0).astype(float)
    np.testing.assert_allclose(rotated @ rotated.T, expected @ expected.T, atol=1e-6)
    gram = rotated.T @ rotated
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-6)


def test_rotate_unknown_row_is_the_average_row() -> None:
    """It is zero after centring, unlike a known row without any of the features."""
    rotated = rotate(one_hot(["a", "b", "", "a"]), 100, 0)
    assert np.all(rotated[2] == 0.0)
    np.testing.assert_allclose(rotated[[0, 1, 3]].sum(axis=0), 0.0, atol=1e-6)


def test_one_hot_unknown_value_is_a_zero_row() -> None:
    """Unknown values of one_hot and many_hot have no column."""
    assert one_hot(["", "m", ""]).tolist() == [[0.0], [1.0], [0.0]]
    assert many_hot([[], ["war"]]).tolist() == [[0.0], [1.0]]


def test_build_implicit_block_rows_have_norm_one() -> None:
    """Rows with ratings have norm 1 and the columns that they rated."""
    start = np.array([0, 2, 2, 5])
    matrix = build_implicit_block(start, np.array([1, 3, 0, 1, 2], np.int32), 4).toarray()
    np.testing.assert_allclose(np.square(matrix).sum(axis=1), [1.0, 0.0, 1.0], atol=1e-6)
    assert (matrix > 0).tolist() == [[False, True, False, True], [False] * 4, [True, True, True, False]]


def test_leading_directions_equal_those_of_the_svd() -> None:
    """The randomized result equals the truncated exact SVD."""
    rng = np.random.default_rng(0)
    matrix = (rng.standard_normal((120, 6)) * [9, 7, 5, 3, 2, 1]) @ rng.standard_normal((6, 90))
    left, scale, right = leading_directions(matrix, 4, 0)
    exact = np.linalg.svd(matrix)
    np.testing.assert_allclose(scale, exact[1][:4], rtol=1e-6)
    best = (exact[0][:, :4] * exact[1][:4]) @ exact[2][:4]
    np.testing.assert_allclose((left * scale) @ right.T, best, atol=1e-6)
