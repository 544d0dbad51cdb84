"""The Bayesian SVD: its draws against closed forms, its answers where they are known by construction."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.training.worlds import checkerboard, frame

from marquee.errors import TrainingDataError
from marquee.training.bayesian_svd import kernel
from marquee.training.bayesian_svd import trainer as bayesian_svd
from marquee.training.bayesian_svd.fit import Budget, Shape, fit
from marquee.training.bayesian_svd.kernel import draw_side, squared_residuals, sums_by_column, width_of
from marquee.training.bayesian_svd.sampler import Sampler, draw_normal_wishart, draw_wishart
from marquee.training.bayesian_svd.trainer import FACTS_COUNT
from marquee.training.dataset import Dataset
from marquee.training.facts import Facts
from marquee.training.trainer import silent

WIDTH = 16


def _rated(n_users: int, n_films: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    user, item = np.nonzero(np.random.default_rng(seed).random((n_users, n_films)) < share)
    return user, item


def _halves(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Two kinds of users, two kinds of films: each kind of user likes its own."""
    return np.where((user % 2) == (item % 2), 5.0, 1.0)


def _draw_once(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernel on 13 rows of uneven length, beside mean and precision from the textbook."""
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
        films = column[start[row] : start[row + 1]]
        design = others[films].astype(np.float64)
        target = rating[start[row] : start[row + 1]] - design[:, -1]
        design[:, -1] = 1.0
        weight = 1.7 * row_noise[row] * column_noise[films]
        precisions[row] = prior_precision + design.T @ (weight[:, None] * design)
        moment = prior_precision @ prior_mean[row] + design.T @ (weight * target)
        means[row] = np.linalg.solve(precisions[row], moment)
    return out, means, precisions


def test_without_noise_a_draw_is_the_posterior_mean() -> None:
    """Against the normal equations, for rows of every length around the kernel's block of eight."""
    out, means, _ = _draw_once(np.zeros((13, WIDTH), np.float32))
    np.testing.assert_allclose(out, means, atol=2e-4)


def test_with_noise_a_draw_has_the_posterior_covariance() -> None:
    """x = mean + U^-1 z with U^T U the precision: so (x - mean)^T precision (x - mean) = z^T z, exactly."""
    normals = np.random.default_rng(1).standard_normal((13, WIDTH)).astype(np.float32)
    out, means, precisions = _draw_once(normals)
    away = out - means
    spread = np.einsum("ri,rij,rj->r", away, precisions, away)
    np.testing.assert_allclose(spread, np.square(normals).sum(axis=1), rtol=2e-3)


def test_squared_residuals_and_their_sums_by_row_and_by_column() -> None:
    rng = np.random.default_rng(2)
    user, item = _rated(9, 11, 0.5, 3)
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


@pytest.mark.parametrize("factors", [1, 15, 16, 31])
def test_any_number_of_factors(factors: int) -> None:
    """Those that fill vector registers, and those that are rounded up."""
    user, item = _rated(60, 50, 0.3, 0)
    result = fit(
        user, item, _halves(user, item), (60, 50), shape=Shape(factors, 8), budget=Budget(40), seed=1
    )
    predicted = result.mean + result.factors.predict(user, item)
    assert np.corrcoef(predicted, _halves(user, item))[0, 1] > 0.97


def test_tasks_cover_all_rows_with_equal_work() -> None:
    """Every row is in one task, and where no row is large none has much more than its share."""
    user, item = _rated(500, 50, 0.3, 0)
    side = Sampler(user, item, _halves(user, item), (500, 50), factors=15).users
    bounds = side.tasks(8)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, 500, 9)
    work = np.diff(side.start[bounds]) + 40 * np.diff(bounds)
    assert work.max() < 1.1 * work.mean()


def test_wishart_draws_have_their_mean() -> None:
    rng = np.random.default_rng(0)
    scale = np.array([[2.0, 0.5], [0.5, 1.0]])
    mean = np.mean([draw_wishart(7.0, scale, rng) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(mean, 7.0 * scale, rtol=0.06)


def test_normal_wishart_finds_mean_and_precision_of_many_rows() -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([[1.0, 0.6], [0.6, 2.0]])
    rows = rng.multivariate_normal([3.0, -1.0], covariance, 20_000).astype(np.float32)
    mean, precision = draw_normal_wishart(rows, [], [], rng)
    np.testing.assert_allclose(mean, [3.0, -1.0], atol=0.05)
    np.testing.assert_allclose(np.linalg.inv(precision), covariance, atol=0.08)


def test_two_kinds_of_users_are_told_apart() -> None:
    """On ratings that two kinds of users give two kinds of films, pairs never rated are predicted."""
    user, item = _rated(60, 50, 0.3, 0)
    result = fit(user, item, _halves(user, item), (60, 50), shape=Shape(15, 8), budget=Budget(60), seed=1)
    hidden_user, hidden_item = np.indices((60, 50)).reshape(2, -1)
    predicted = result.mean + result.factors.predict(hidden_user, hidden_item)
    np.testing.assert_allclose(predicted, _halves(hidden_user, hidden_item), atol=0.5)


def test_features_speak_for_a_user_who_has_rated_nothing() -> None:
    """Two new users of known kind, and one of whom nothing is known."""
    user, item = _rated(200, 30, 0.4, 0)
    rating = np.where(user % 2, 4.5, 1.5) + np.random.default_rng(0).normal(0, 0.2, len(user))
    kind = np.zeros((203, 2))
    kind[np.arange(202), np.arange(202) % 2] = 1.0
    result = fit(
        user, item, rating, (203, 30), user_features=[kind], shape=Shape(15, 8), budget=Budget(120), seed=1
    )
    mean = [
        float(np.mean(result.mean + result.factors.predict(np.full(30, u), np.arange(30))))
        for u in (200, 201, 202)
    ]
    assert mean[0] < 2.2
    assert mean[1] > 3.8
    assert mean[0] < mean[2] < mean[1]


def test_of_whom_only_facts_are_known_a_quarter_is_believed() -> None:
    """The trainer draws a user without ratings towards the average user, who is what stands for him elsewhere."""
    kinds = {f"u{u:03}": {"gender": "FM"[u % 2]} for u in range(40)}
    ratings = checkerboard()
    data = Dataset.of(ratings, frame(), 1.0, 5.0, Facts(kinds))
    data = data.without_ratings(data.ratings.users >= 38)
    head = bayesian_svd.train(data, {"factors": 15, "served_rank": 8, "sweeps": 12, "burn_in": 4}, 7, silent)
    raw = fit(
        data.ratings.users,
        data.ratings.items,
        data.ratings.values,
        (data.n_users, data.n_items),
        user_features=data.user_features,
        shape=Shape(15, 8, 100),
        budget=Budget(12, 4),
        seed=7,
    ).factors
    average = raw.user_vectors[:38].mean(axis=0)
    expected = average + FACTS_COUNT * (raw.user_vectors[38:] - average)
    np.testing.assert_allclose(head.user_vectors[38:], expected, atol=1e-5)
    np.testing.assert_allclose(head.prior.mean[:-1], average, atol=1e-5)
    raw_apart = float(raw.user_biases[38] - raw.user_biases[39])
    assert head.user_biases[38] - head.user_biases[39] == pytest.approx(FACTS_COUNT * raw_apart, abs=1e-5)


def _same(user: np.ndarray, item: np.ndarray, **more: object) -> np.ndarray:
    options = {"shape": Shape(15, 8), "budget": Budget(12, burn_in=4), "seed": 7} | more
    factors = fit(user, item, _halves(user, item), (60, 50), **options).factors  # type: ignore[arg-type]
    return np.concatenate([factors.user_vectors.ravel(), factors.film_vectors.ravel(), factors.film_biases])


class _Killed(Exception):
    pass


def test_a_run_that_was_killed_ends_as_it_would_have(tmp_path: Path) -> None:
    """From its checkpoint the chain goes on to the same numbers, bit for bit."""
    user, item = _rated(60, 50, 0.3, 0)
    whole = _same(user, item)
    seen: list[int] = []

    def killer(done: int, sweeps: int) -> None:
        seen.append(done)
        if done == 9:
            raise _Killed

    path = tmp_path / "chain.npz"
    with pytest.raises(_Killed):
        _same(user, item, progress=killer, checkpoint_path=path, checkpoint_every_s=0.0)
    seen.clear()
    resumed = _same(
        user,
        item,
        progress=lambda done, sweeps: seen.append(done),
        checkpoint_path=path,
        checkpoint_every_s=0.0,
    )
    assert seen[0] == 9, "sweeps 1 to 8 were on disk"
    assert np.array_equal(resumed, whole)
    assert not path.exists()


CHECKPOINTED = """
import hashlib, sys, time
from pathlib import Path
from tests.training.test_bayesian_svd import _rated, _same
slowly = lambda done, sweeps: time.sleep(0.05)
more = {"checkpoint_path": Path(sys.argv[1]), "checkpoint_every_s": 0.0, "progress": slowly} if sys.argv[1:] else {}
print(hashlib.sha256(_same(*_rated(60, 50, 0.3, 0), **more).tobytes()).hexdigest())
"""


def test_a_killed_process_is_resumed(tmp_path: Path) -> None:
    """SIGKILL at any moment, three times: the process after them gives the bits of one that was left alone."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    path = tmp_path / "chain.npz"

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHECKPOINTED, *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    alone = run().communicate()[0]
    for _ in range(3):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = run(str(path))
        while process.poll() is None and not (path.exists() and path.stat().st_mtime_ns > before):
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert alone
    assert run(str(path)).communicate()[0] == alone
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"not a checkpoint at all"])
def test_a_broken_or_foreign_checkpoint_is_ignored(tmp_path: Path, content: bytes) -> None:
    user, item = _rated(60, 50, 0.3, 0)
    path = tmp_path / "chain.npz"
    path.write_bytes(content)
    assert np.array_equal(_same(user, item, checkpoint_path=path), _same(user, item))


THREADS = """
import numpy as np
from tests.training.test_bayesian_svd import _rated, _same
import hashlib
print(hashlib.sha256(_same(*_rated(60, 50, 0.3, 0)).tobytes()).hexdigest())
"""


def test_any_number_of_threads_gives_the_same_bits() -> None:
    def run(threads: str) -> str:
        counts = {"NUMBA_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = os.environ | counts | {"PYTHONPATH": paths}
        done = subprocess.run(
            [sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert run("1") == run("2")


def test_no_compiled_function_may_change_a_sum() -> None:
    """The same bits by construction, not by luck: nothing in the kernel is compiled with leave to change how
    floats are added up."""
    compiled = {name: f for name, f in vars(kernel).items() if hasattr(f, "targetoptions")}
    assert compiled.keys() >= {"draw_side", "squared_residuals", "sums_by_column", "_add_gram", "_factorise"}
    for name, function in compiled.items():
        assert not function.targetoptions.get("fastmath", False), name


def test_a_budget_of_seconds_ends_the_run() -> None:
    user, item = _rated(60, 50, 0.3, 0)
    result = fit(
        user,
        item,
        _halves(user, item),
        (60, 50),
        shape=Shape(15),
        budget=Budget(10**6, burn_in=1, seconds=0.0),
    )
    assert result.sweeps == 2


@pytest.mark.parametrize(
    ("rating", "message"),
    [
        ([], "there are no ratings"),
        ([3.0, 3.0, 3.0], "all 3 ratings are 3"),
        ([1.0, float("nan"), float("inf")], "2 of 3 ratings are not finite"),
    ],
)
def test_ratings_that_teach_nothing_are_refused(rating: list[float], message: str) -> None:
    rows = np.arange(len(rating))
    with pytest.raises(TrainingDataError, match=message):
        fit(rows, rows, np.array(rating), (3, 3))


def test_a_row_outside_of_the_matrix_is_refused() -> None:
    with pytest.raises(TrainingDataError, match="one item of 0 to 1"):
        fit(np.array([0, 1]), np.array([0, 2]), np.array([1.0, 2.0]), (2, 2))


def test_careless_raters_weigh_less() -> None:
    """Half of the users rate at random: the chain finds out who."""
    rng = np.random.default_rng(0)
    user, item = _rated(80, 60, 0.5, 0)
    rating = _halves(user, item)
    careless = user >= 40
    rating[careless] = rng.choice([1.0, 5.0], careless.sum())
    chain = Sampler(user, item, rating, (80, 60), factors=15, seed=0)
    for _ in range(40):
        chain.sweep()
    assert chain.users.noise[:40].min() > chain.users.noise[40:].mean()
