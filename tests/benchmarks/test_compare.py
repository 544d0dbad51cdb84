"""The comparison of models: the committed page, the command on synthetic data, and the cache of its steps."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import surprise
from benchmarks.models import aggregate, backtest_windows, charts, compare, fitted_algorithms, report
from benchmarks.models.__main__ import main
from benchmarks.models.aggregate import AggregateSettings
from benchmarks.models.algorithms import (
    ALGORITHMS,
    LARGE_BPMF,
    POPULARITY,
    SERVED_RANKING,
    SERVED_RATING,
    Algorithm,
)
from benchmarks.models.charts import ChartPanel, Point
from benchmarks.models.report_model import ModelReport
from benchmarks.models.split_metrics import Arrays, measure_split
from tests.support.killed import Killed
from tests.support.synthetic_data import SECOND, blocks, checkerboard, dataset

from marquee.backtest.backtest_jobs import SURPRISE
from marquee.data import interaction_frames, sources
from marquee.data.dataset import Dataset
from marquee.data.side_information import USER_ATTRIBUTES, SideInformation
from marquee.data.splits import Split
from marquee.models import surprise_svd
from marquee.models.cohort_preferences import PRIOR_STRENGTH
from marquee.models.matrix_factorization import to_rating_factors
from marquee.models.numba_cache import numba
from marquee.models.trainer_port import ProgressCallback, no_progress
from marquee.training.params import Params

ROOT = Path(__file__).parents[2]
PARAMS = Params.read(ROOT / "params.yaml")
QUICK = msgspec.structs.replace(
    PARAMS,
    trainer="surprise_svd",
    trainers=PARAMS.trainers | {"bpmf": PARAMS.trainers["bpmf"] | {"sweeps": 6, "burn_in": 2}},
    evaluation=msgspec.structs.replace(PARAMS.evaluation, resamples=50),
)
SETTINGS = AggregateSettings.from_params(QUICK)
# The large BPMF runs the code of the other one with other numbers.
ALL_BUT_LARGE = [name for name in ALGORITHMS if name != LARGE_BPMF]


@pytest.fixture(autouse=True)
def current_thread_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set numba's thread limit to its current value, because it cannot change after threads have started."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", str(numba.get_num_threads()))


def committed_results() -> ModelReport:
    return msgspec.json.decode((ROOT / report.RESULTS).read_bytes(), type=ModelReport)


def test_render_files_committed_page_is_current() -> None:
    """The committed page and charts are those of the committed results, with every algorithm."""
    results = committed_results()
    assert results.notes == {name: algorithm.note for name, algorithm in ALGORITHMS.items()}
    for protocol in results.protocols:
        assert [algorithm.name for algorithm in protocol.algorithms] == list(ALGORITHMS)
    for path, content in report.render_files(results).items():
        assert (ROOT / path).read_text() == content, f"{path}: run python -m benchmarks.models --page-only"


def test_committed_results_are_of_current_parameters(base_data: Path) -> None:
    """The results have the data and seed of the pipeline, and BPMF has the lowest RMSE."""
    results = committed_results()
    assert results.seed == PARAMS.seed
    assert results.cohorts.served_strength == f"{PRIOR_STRENGTH:,.0f}"
    assert results.data == load_dataset(base_data, results.user_attributes)[0].sha256()
    assert results.backtest is not None
    assert results.backtest.data == load_dataset(base_data, results.backtest.user_attributes)[0].sha256()
    difference = results.backtest.overall.differences[SURPRISE]["rmse"]
    assert difference.excludes_zero
    assert difference.value < 0
    rmse = {
        algorithm.name: algorithm.metrics["rmse"].value
        for algorithm in results.protocols[1].algorithms
        if "rmse" in algorithm.metrics
    }
    assert min(rmse, key=rmse.__getitem__) in (SERVED_RATING, LARGE_BPMF)


def arriving_users() -> pd.DataFrame:
    """Return ratings of blocks in which one user arrives after the other, so that every window has new users."""
    ratings = blocks(users=15)
    arrival = {user: n for n, user in enumerate(np.random.default_rng(0).permutation(sorted(set(ratings["user_id"]))))}
    return ratings.assign(
        time=[arrival[u] * 1000 * SECOND + t for u, t in zip(ratings.user_id, ratings.time, strict=True)]
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return base data in which the users of each block have an occupation of their own."""
    directory, ratings = tmp_path_factory.mktemp("base"), arriving_users()
    table = ratings.rename(columns={"value": "rating"}).assign(time=ratings["time"] // SECOND)
    table.to_csv(directory / "ratings.csv", index=False)
    users = [f"{user},30,F,of-{user[:2]},90210" for user in sorted(set(ratings["user_id"]))]
    (directory / "users.csv").write_text("\n".join(["user_id,age,gender,occupation,zip", *users]) + "\n")
    return directory


def load_dataset(base: Path, attributes: Sequence[str] = USER_ATTRIBUTES) -> tuple[Dataset, SideInformation]:
    source = sources.read_base(base, datetime(2000, 1, 1, tzinfo=UTC))
    empty = interaction_frames.empty_interactions()
    dataset = Dataset.from_frames(source.ratings, empty, 1.0, 5.0, source.side_information, attributes)
    return dataset, source.side_information


def run_compare(base: Path, cache: Path, algorithms: list[str], progress: ProgressCallback) -> ModelReport:
    return compare.compare(
        *load_dataset(base),
        QUICK,
        cache=cache,
        algorithms=algorithms,
        today=date(2026, 1, 1),
        progress=progress,
    )


def test_main_synthetic_data_writes_page_and_results(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every algorithm has metrics with intervals, sizes and times under every protocol.

    Where groups differ by construction, cohort lists are better than the popular one.
    """
    params = tmp_path / "params.yaml"
    params.write_bytes(msgspec.yaml.encode(QUICK))
    options = {"--base": base, "--out": tmp_path, "--cache": tmp_path / "cache", "--params": params}
    arguments = [word for name, value in options.items() for word in (name, str(value))]
    arguments += ["--cuts", "2", *(word for name in ALL_BUT_LARGE for word in ("--only", name))]
    assert main(arguments) == 0
    assert (tmp_path / "docs/models.md").read_text().count("docs") == 0
    assert capsys.readouterr().out.splitlines()[0] == "docs/models.md"
    results = msgspec.json.decode((tmp_path / report.RESULTS).read_bytes(), type=ModelReport)
    assert results.backtest is not None
    assert len(results.backtest.cuts) == 2
    for protocol in results.protocols:
        assert [algorithm.name for algorithm in protocol.algorithms] == ALL_BUT_LARGE
        for algorithm in protocol.algorithms:
            for metric in algorithm.metrics.values():
                assert metric.low is not None
                assert metric.high is not None
                assert metric.low <= metric.value <= metric.high
            assert min(algorithm.memory_bytes, algorithm.answer_us) > 0
            assert algorithm.storage_bytes >= algorithm.memory_bytes
    ndcg = {a.name: a.metrics["ndcg@10"].value for a in results.protocols[0].algorithms}
    assert ndcg[SERVED_RANKING] > ndcg[POPULARITY] + 0.1
    for compared in results.cohorts.past.values():
        assert compared[0].low > 0
    assert [window.start for window in results.windows] == list(backtest_windows.WINDOW_STARTS[1:])


def test_main_unknown_algorithm_lists_known_names(capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the algorithms that exist."""
    assert main(["--only", "magic"]) == 1
    assert "there is no algorithm 'magic'; there is popularity, bias only" in capsys.readouterr().err


def test_compare_interrupted_run_resumes_from_cache(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured steps are not measured again, except one whose file is damaged, and the results are equal."""
    measured: list[str] = []

    def count_and_measure(algorithm: Algorithm, split: Split, params: Params) -> Arrays:
        measured.append(split.name)
        return measure_split(algorithm, split, params)

    def interrupt_after_three(step: str, done: float) -> None:
        assert step
        assert 0 <= done <= 1
        if len(measured) == 3:
            raise Killed

    monkeypatch.setattr(compare, "measure_split", count_and_measure)
    algorithms = ["popularity", "bias only"]
    with pytest.raises(Killed):
        run_compare(base, tmp_path, algorithms, interrupt_after_three)
    assert len(list(tmp_path.iterdir())) == 3
    next(tmp_path.iterdir()).write_bytes(b"PK torn")
    first = run_compare(base, tmp_path, algorithms, no_progress)
    assert len(measured) == 3 + 1 + (2 * 7 - 3)
    second = run_compare(base, tmp_path, algorithms, no_progress)
    assert msgspec.structs.replace(second, machine=first.machine) == first
    assert len(measured) == 15


def test_sum_by_user_user_in_several_splits_counts_once() -> None:
    """Sums are by user over all splits."""
    parts: list[Arrays] = [
        {"users": np.array([1, 4]), "squared": np.array([1.0, 2.0]), "counts": np.array([1.0, 1.0])},
        {"users": np.array([4, 7]), "squared": np.array([3.0, 4.0]), "counts": np.array([2.0, 1.0])},
    ]
    assert aggregate.sum_by_user(parts, "users", "squared").tolist() == [1.0, 5.0, 4.0]
    assert aggregate.sum_by_user(parts, "users", None).tolist() == [1.0, 2.0, 1.0]


def test_catalog_coverage_is_the_fraction_in_any_list() -> None:
    """Two users with the same three of ten items, and two users with disjoint lists."""
    same: Arrays = {"ranked_users": np.array([0, 1]), "recommended": np.array([[0, 1, 2], [2, 1, 0]])}
    disjoint: Arrays = {"ranked_users": np.array([0, 1]), "recommended": np.array([[0, 1, 2], [3, 4, 5]])}
    one, two = (aggregate.catalog_coverage([part], 10, SETTINGS) for part in (same, disjoint))
    assert (one.value, one.low, one.high) == pytest.approx((0.3, 0.3, 0.3))
    assert two.value == pytest.approx(0.6)
    assert two.low is not None
    assert two.high is not None
    assert two.low < 0.6 < two.high
    assert aggregate.catalog_coverage([same, disjoint], 10, SETTINGS).value == pytest.approx(0.45)


def test_split_window_windows_are_consecutive_and_disjoint_from_training(base: Path) -> None:
    """Training ratings are older than the window, and each window is training data of the next."""
    dataset, _ = load_dataset(base)
    parts = [backtest_windows.split_window(dataset, start) for start in backtest_windows.WINDOW_STARTS]
    for split in parts:
        assert split.train.ratings.times.max() < split.test.times.min()
    for split, following in pairwise(parts):
        assert len(following.train.ratings) == len(split.train.ratings) + len(split.test)
    assert len(parts[-1].train.ratings) + len(parts[-1].test) == len(dataset.ratings)


def draw_examples() -> list[str]:
    panels = [ChartPanel("a < b", {"x & y": Point(0.5, 0.4, 0.6)}, 0.8), ChartPanel("empty", {})]
    points = {"x & y": (0.1, 0.9), "z": (10.0, 0.91)}
    return [
        charts.draw_intervals("title", ["x & y"], panels, ["x & y"]),
        charts.draw_scatter("title", points, ("s", "RMSE"), ["z"]),
    ]


def test_draw_charts_are_well_formed_text_with_equal_bytes() -> None:
    """Names are escaped, text stays text, and the same data give the same bytes."""
    drawn = draw_examples()
    assert drawn == draw_examples()
    for svg in drawn:
        root = ET.fromstring(svg)
        assert root.tag.endswith("svg")
        assert "x & y" in "".join(root.itertext())
        assert len(svg) < 30_000


def test_factorize_svdpp_linear_factors_equal_surprise_predictions() -> None:
    """With the implicit term added to the user's vector, the linear model predicts what surprise predicts."""
    data = dataset(checkerboard(12, 9))
    factors = to_rating_factors(fitted_algorithms.factorize_svdpp(data, 3), data)
    reference = surprise.SVDpp(random_state=3).fit(surprise_svd.build_trainset(data))
    users, items = np.indices((12, 9)).reshape(2, -1).astype(np.int32)
    expected = [reference.predict(u, i, clip=False).est for u, i in zip(users.tolist(), items.tolist(), strict=True)]
    np.testing.assert_allclose(factors.predict(users, items), expected, atol=1e-9)
