"""Simulated feedback loops: known tastes, lists by the serving engine, and comparisons in pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from benchmarks.loops import loop_days
from benchmarks.loops.__main__ import main
from benchmarks.loops.loop_days import LoopStart, make_start, simulate_days
from benchmarks.loops.loop_log import LoopLog
from benchmarks.loops.loop_measures import (
    ALIKE,
    COVERAGE,
    DRIFT,
    GINI,
    QUALITY,
    TOP,
    LoopRun,
    judge_lists,
    judge_tastes,
)
from benchmarks.loops.loop_report import LoopReport, mean_with_interval
from benchmarks.loops.loop_variants import NO_LISTS, PLAIN, VARIANTS, LoopVariant
from benchmarks.loops.loop_world import LENGTH, WorldSize, make_world

from marquee.serving.exploration import Exploration
from marquee.training.params import Params

SIZE = WorldSize(users=80, movies=120, days=2, history_days=30)
BY_NAME = {variant.name: variant for variant in VARIANTS}


@pytest.fixture(scope="module")
def params() -> Params:
    """Return the parameters of the repository without tuning."""
    found = Params.read(Path("params.yaml"))
    return msgspec.structs.replace(found, tuning=msgspec.structs.replace(found.tuning, budget_s=0))


@pytest.fixture(scope="module")
def start(params: Params) -> LoopStart:
    """Return a small world."""
    return make_start(SIZE, 1, params)


@pytest.fixture(scope="module")
def plain(start: LoopStart, params: Params) -> LoopRun:
    """Return two days without exploration."""
    return simulate_days(start, BY_NAME[PLAIN], params)


def test_simulate_days_equal_arguments_give_equal_runs(start: LoopStart, params: Params, plain: LoopRun) -> None:
    """A run follows from seed, size, variant and parameters."""
    assert simulate_days(start, BY_NAME[PLAIN], params) == plain


def test_simulate_days_begin_on_the_same_data(start: LoopStart, params: Params, plain: LoopRun) -> None:
    """Variants of one seed train on equal histories, so that their difference is that of the variants."""
    uniform = simulate_days(start, BY_NAME[NO_LISTS], params)
    assert uniform.data == plain.data
    assert uniform.days[COVERAGE][0] > plain.days[COVERAGE][0]
    assert uniform.days[GINI][0] < plain.days[GINI][0]
    assert uniform.days[QUALITY][0] < plain.days[QUALITY][0]


def test_simulate_days_shows_no_movie_before_its_release(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even uniform lists hold released movies only, and nearly all of them."""
    world = make_start(SIZE, 2, params).world
    late = replace(world, released=np.where(np.arange(SIZE.movies) % 2, 5, -SIZE.history_days))
    shown: list[np.ndarray] = []

    def record(*arguments: Any) -> Any:
        shown.append(arguments[3])
        return judge_lists(*arguments)

    monkeypatch.setattr(loop_days, "judge_lists", record)
    simulate_days(LoopStart(late, {}), LoopVariant("uniform", Exploration(1.0)), params)
    assert {item % 2 for lists in shown for item in lists.ravel().tolist()} == {0}
    assert len(np.unique(np.concatenate(shown))) > 0.45 * SIZE.movies


def test_loop_log_ratings_follow_from_the_pair() -> None:
    """The rating of a movie does not depend on the movies begun before it."""
    world = make_world(SIZE, 3)
    users, items = np.array([1, 2, 3]), np.array([4, 5, 6])
    odds = world.suit(world.tastes)[users, items]
    first, second = LoopLog(world), LoopLog(world)
    first.add(users, items, 1, odds)
    second.add(users[::-1], items[::-1], 1, odds[::-1])
    assert first.to_dataset().sha256() == second.to_dataset().sha256()
    assert first.seen.sum() == 3


def test_judge_lists_best_lists_have_quality_one() -> None:
    """Quality is 1 for the best unseen movies, and less for any other list."""
    world = make_world(SIZE, 4)
    seen = np.zeros((SIZE.users, SIZE.movies), bool)
    seen[:, :5] = True
    users = np.arange(SIZE.users)
    possible = np.where(seen | (world.released > 1), 0, world.suit(world.tastes))
    order = np.argsort(-possible, axis=1)
    best, quality = judge_lists(world, world.tastes, users, order[:, :LENGTH], seen, 1)
    worse, _ = judge_lists(world, world.tastes, users, order[:, 5 : 5 + LENGTH], seen, 1)
    assert best[QUALITY] == pytest.approx(1)
    assert quality == pytest.approx(np.ones(SIZE.users))
    assert worse[QUALITY] < 0.95


def test_judge_lists_one_list_for_all_is_concentrated() -> None:
    """If all users get one list, its movies have all exposure."""
    world = make_world(msgspec.structs.replace(SIZE, new_movies=0.0), 4)
    lists = np.tile(np.arange(LENGTH), (SIZE.users, 1))
    measured, _ = judge_lists(
        world, world.tastes, np.arange(SIZE.users), lists, np.zeros((SIZE.users, SIZE.movies), bool), 1
    )
    assert measured[COVERAGE] == pytest.approx(LENGTH / SIZE.movies)
    assert measured[TOP] == pytest.approx(1 / sum(1 / np.log2(k + 2) for k in range(LENGTH)))
    assert measured[GINI] > 0.8


def test_judge_tastes_known_movement() -> None:
    """Drift is 1 - cosine from the first tastes, alikeness the mean cosine of two users."""
    first = np.array([[1.0, 0], [0, 1.0]])
    assert judge_tastes(first, first) == {DRIFT: pytest.approx(0), ALIKE: pytest.approx(0)}
    assert judge_tastes(first, first[[0, 0]]) == {DRIFT: pytest.approx(0.5), ALIKE: pytest.approx(1)}


def test_difference_is_paired_by_seed() -> None:
    """A constant difference has an interval of width 0, however much the seeds differ."""
    runs = {
        name: [LoopRun(name, seed, {QUALITY: [seed + shift]}, {}) for seed in range(4)]
        for name, shift in ((PLAIN, 0.0), ("other", 0.5))
    }
    report = LoopReport(SIZE, list(range(4)), runs)
    change = report.difference("other", QUALITY)
    assert (change.value, change.low, change.high) == pytest.approx((0.5, 0.5, 0.5))
    spread = report.mean("other", QUALITY)
    assert spread.low is not None
    assert spread.value - spread.low > 1


def test_mean_with_interval_known_values() -> None:
    """The interval is that of Student's t: 2.776 standard errors for five values."""
    metric = mean_with_interval(np.array([1.0, 2, 3, 4, 5]))
    assert metric.high == pytest.approx(3 + 2.7764 * np.sqrt(2.5 / 5), abs=1e-3)
    assert mean_with_interval(np.array([2.0])).low is None


def test_loops_main_with_a_size_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a size it prints the table; a second call reads the stored runs, of which a damaged one is redone."""
    text = Path("params.yaml").read_text().replace("budget_s: 10", "budget_s: 0")
    (tmp_path / "params.yaml").write_text(text)
    command = f"--users 60 --movies 100 --days 1 --seeds 1 --params {tmp_path}/params.yaml --out {tmp_path}/out"
    arguments = [*command.split(), "--variant", PLAIN, "--variant", NO_LISTS]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert PLAIN in first
    assert NO_LISTS in first
    damaged = sorted((tmp_path / "out/build/loops/runs").glob("*.json"))[0]
    damaged.write_text("{")
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    monkeypatch.setattr("benchmarks.loops.loop_report.simulate_days", None)
    assert main(arguments) == 0
    with pytest.raises(SystemExit):
        main([*command.split(), "--variant", "none such"])
    assert "unknown variant 'none such'" in capsys.readouterr().err
