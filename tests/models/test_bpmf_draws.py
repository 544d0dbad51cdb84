"""The draws of BPMF's sampler have their closed-form distributions."""

from __future__ import annotations

import numpy as np
from tests.support.synthetic_data import sample_pairs, two_group_ratings

from marquee.models.bpmf.kernel import draw_side, squared_residuals, sums_by_column, width_of
from marquee.models.bpmf.normal_wishart import draw_normal_wishart, draw_wishart
from marquee.models.bpmf.sampler import Sampler

WIDTH = 16


def _draw_once(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the kernel's draws of 13 rows of uneven length, with their posterior means and precisions."""
    rng = np.random.default_rng(5)
    lengths = np.array([0, 1, 2, 7, 8, 9, 15, 16, 17, 3, 4, 5, 30])
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    column = rng.integers(0, 40, start[-1]).astype(np.int32)
    rating = rng.standard_normal(start[-1]).astype(np.float32)
    others = rng.standard_normal((40, WIDTH)).astype(np.float32)
    row_noise, column_noise = (rng.gamma(10, 0.1, n).astype(np.float32) for n in (13, 40))
    root = rng.standard_normal((WIDTH, WIDTH))
    prior_precision = (root @ root.T + np.eye(WIDTH)).astype(np.float32)
    prior_mean = rng.standard_normal((13, WIDTH)).astype(np.float32)
    out = np.empty((13, WIDTH), np.float32)
    draw_side(
        width_of(WIDTH),
        np.array([0, 5, 5, 12, 13]),
        start,
        column,
        rating,
        others,
        row_noise,
        column_noise,
        np.float32(1.7),
        prior_precision.ravel(),
        prior_mean @ prior_precision,
        normals,
        out,
    )
    means, precisions = np.empty((13, WIDTH)), np.empty((13, WIDTH, WIDTH))
    for row in range(13):
        items = column[start[row] : start[row + 1]]
        design = others[items].astype(np.float64)
        target = rating[start[row] : start[row + 1]] - design[:, -1]
        design[:, -1] = 1.0
        weight = 1.7 * row_noise[row] * column_noise[items]
        precisions[row] = prior_precision + design.T @ (weight[:, None] * design)
        moment = prior_precision @ prior_mean[row] + design.T @ (weight * target)
        means[row] = np.linalg.solve(precisions[row], moment)
    return out, means, precisions


def test_draw_side_zero_normals_give_posterior_mean() -> None:
    """Rows of every length around the kernel's block sizes solve their normal equations."""
    out, means, _ = _draw_once(np.zeros((13, WIDTH), np.float32))
    np.testing.assert_allclose(out, means, atol=2e-4)


def test_draw_side_normals_give_posterior_covariance() -> None:
    """With x = mean + U^-1 z and U^T U the precision, (x - mean)^T precision (x - mean) = z^T z."""
    normals = np.random.default_rng(1).standard_normal((13, WIDTH)).astype(np.float32)
    out, means, precisions = _draw_once(normals)
    deviation = out - means
    distance = np.einsum("ri,rij,rj->r", deviation, precisions, deviation)
    np.testing.assert_allclose(distance, np.square(normals).sum(axis=1), rtol=2e-3)


def test_squared_residuals_and_their_sums_equal_numpy() -> None:
    """The residuals, and their weighted sums by row and by column, are those of a direct computation."""
    rng = np.random.default_rng(2)
    user, item = sample_pairs(9, 11, 0.5, 3)
    order = np.lexsort((item, user))
    start = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=9))]).astype(np.int64)
    rows, columns = (rng.standard_normal((n, WIDTH)).astype(np.float32) for n in (9, 11))
    noise, row_noise = (rng.gamma(10, 0.1, n).astype(np.float32) for n in (11, 9))
    rating = rng.standard_normal(len(user)).astype(np.float32)
    u, i, tasks = user[order], item[order].astype(np.int32), np.array([0, 4, 9])
    out, by_row, sums = np.empty(len(user), np.float32), np.empty(9), np.empty((2, 11))
    squared_residuals(width_of(WIDTH), tasks, start, i, rating, rows, columns, noise, out, by_row)
    dots = (rows[u, :-1].astype(float) * columns[i, :-1]).sum(axis=1)
    expected = (rating - dots - rows[u, -1] - columns[i, -1]) ** 2
    np.testing.assert_allclose(out, expected, atol=1e-4)
    np.testing.assert_allclose(by_row, np.bincount(u, expected * noise[i]), rtol=1e-4)
    sums_by_column(tasks, start, i, out, row_noise, sums)
    np.testing.assert_allclose(sums.sum(axis=0), np.bincount(i, expected * row_noise[u], 11), rtol=1e-4)


def test_task_bounds_cover_all_rows_with_equal_work() -> None:
    """Every row is in one task, and without large rows all tasks have about the same work."""
    user, item = sample_pairs(500, 50, 0.3, 0)
    side = Sampler(user, item, two_group_ratings(user, item), (500, 50), factors=15).users
    bounds = side.task_bounds(8)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, 500, 9)
    work = np.diff(side.start[bounds]) + 40 * np.diff(bounds)
    assert work.max() < 1.1 * work.mean()


def test_draw_wishart_has_its_mean() -> None:
    """The mean of many draws is freedom x scale."""
    rng = np.random.default_rng(0)
    scale = np.array([[2.0, 0.5], [0.5, 1.0]])
    mean = np.mean([draw_wishart(7.0, scale, rng) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(mean, 7.0 * scale, rtol=0.06)


def test_draw_normal_wishart_many_rows_gives_their_moments() -> None:
    """With many rows the draw is near their mean and covariance."""
    rng = np.random.default_rng(0)
    covariance = np.array([[1.0, 0.6], [0.6, 2.0]])
    rows = rng.multivariate_normal([3.0, -1.0], covariance, 20_000).astype(np.float32)
    mean, precision = draw_normal_wishart(rows, [], [], rng)
    np.testing.assert_allclose(mean, [3.0, -1.0], atol=0.05)
    np.testing.assert_allclose(np.linalg.inv(precision), covariance, atol=0.08)
