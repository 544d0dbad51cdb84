"""Feature blocks: rotated without loss, what is unknown at the average."""

from __future__ import annotations

import numpy as np

from marquee.data.side_information import many_hot, one_hot
from marquee.models.bpmf.feature_blocks import build_implicit_block, leading_directions, rotate


def test_rotated_features_are_orthogonal_and_lose_nothing() -> None:
    """A rotation keeps all inner products of rows, here of rows less their mean."""
    block = np.hstack(
        [one_hot(["a", "b", "", "a", "c"]), many_hot([["x", "y"], [], [], ["y"], ["x", "z", "w"]])]
    )
    known = [0, 1, 3, 4]
    expected = block - block[known].mean(axis=0)
    expected[2] = 0.0
    turned = rotate(block, 100, 0).astype(float)
    np.testing.assert_allclose(turned @ turned.T, expected @ expected.T, atol=1e-6)
    gram = turned.T @ turned
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-6)


def test_a_row_of_which_nothing_is_known_is_the_average_row() -> None:
    """Zeros after centring: it is not taken for one that has none of the features."""
    turned = rotate(one_hot(["a", "b", "", "a"]), 100, 0)
    assert np.all(turned[2] == 0.0)
    np.testing.assert_allclose(turned[[0, 1, 3]].sum(axis=0), 0.0, atol=1e-6)


def test_unknown_values_leave_their_row_at_zero() -> None:
    assert one_hot(["", "m", ""]).tolist() == [[0.0], [1.0], [0.0]]
    assert many_hot([[], ["war"]]).tolist() == [[0.0], [1.0]]


def test_implicit_rows_have_length_one() -> None:
    start = np.array([0, 2, 2, 5])
    matrix = build_implicit_block(start, np.array([1, 3, 0, 1, 2], np.int32), 4).toarray()
    np.testing.assert_allclose(np.square(matrix).sum(axis=1), [1.0, 0.0, 1.0], atol=1e-6)
    assert (matrix > 0).tolist() == [[False, True, False, True], [False] * 4, [True, True, True, False]]


def test_leading_directions_are_those_of_the_svd() -> None:
    rng = np.random.default_rng(0)
    matrix = (rng.standard_normal((120, 6)) * [9, 7, 5, 3, 2, 1]) @ rng.standard_normal((6, 90))
    left, scale, right = leading_directions(matrix, 4, 0)
    exact = np.linalg.svd(matrix)
    np.testing.assert_allclose(scale, exact[1][:4], rtol=1e-6)
    best = (exact[0][:, :4] * exact[1][:4]) @ exact[2][:4]
    np.testing.assert_allclose((left * scale) @ right.T, best, atol=1e-6)
