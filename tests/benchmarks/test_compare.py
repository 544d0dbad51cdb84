"""`make models`: the page is of the committed results, the command runs on a small world, each step is kept."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import numba
import numpy as np
import pandas as pd
import pytest
from benchmarks.models import aggregate, backtest_windows, compare, report, svg
from benchmarks.models.aggregate import AggregateSettings
from benchmarks.models.algorithms import ALGORITHMS, SERVED_RANKING, SERVED_RATING
from benchmarks.models.command import main
from benchmarks.models.report_model import ModelReport
from benchmarks.models.split_metrics import Arrays
from hypothesis import given
from hypothesis import strategies as st
from tests.support.killed import Killed
from tests.support.synthetic_data import SECOND, blocks

from marquee.data import sources
from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation
from marquee.models.cohort_preferences import PRIOR_STRENGTH
from marquee.models.trainer_port import Progress
from marquee.training.params import Params

ROOT = Path(__file__).parents[2]
PARAMS = Params.read(ROOT / "params.yaml")
QUICK = msgspec.structs.replace(
    PARAMS,
    trainer="surprise_svd",
    trainers=PARAMS.trainers | {"bpmf": PARAMS.trainers["bpmf"] | {"sweeps": 6, "burn_in": 2}},
    evaluation=msgspec.structs.replace(PARAMS.evaluation, resamples=50),
)
SETTINGS = AggregateSettings.of(QUICK, "data")
ALL_BUT_LARGE = [
    name for name in ALGORITHMS if name != "Bayesian SVD, large"
]  # The same code with other numbers.


@pytest.fixture(autouse=True)
def threads_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command asks for one thread of numba, which in this process may have started more."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", str(numba.config.NUMBA_NUM_THREADS))


def test_the_page_is_that_of_the_committed_results() -> None:
    """Page and plots are what `make models --page-only` writes now, and every system is in them."""
    results = msgspec.json.decode((ROOT / report.RESULTS).read_bytes(), type=ModelReport)
    assert list(results.notes) == list(ALGORITHMS)
    assert [[row.name for row in protocol.rows] for protocol in results.protocols] == [list(ALGORITHMS)] * 3
    for path, text in report.files(results).items():
        assert (ROOT / path).read_text() == text, f"{path} is stale: make models --page-only"


def test_the_committed_results_are_of_these_parameters(base_data: Path) -> None:
    """Of the data and the seed that the pipeline learns from: a change of either asks for a new run."""
    results = msgspec.json.decode((ROOT / report.RESULTS).read_bytes(), type=ModelReport)
    assert results.seed == PARAMS.seed
    assert results.cohorts.serves == f"{PRIOR_STRENGTH:,.0f}"
    base = sources.read_base(base_data, datetime(2000, 1, 1, tzinfo=UTC))
    assert (
        results.data
        == Dataset.from_frames(
            base.ratings, sources.empty_interactions(), 1.0, 5.0, base.side_information
        ).sha256()
    )
    rmse = {row.name: row.figures["rmse"].value for row in results.protocols[1].rows if "rmse" in row.figures}
    assert min(rmse, key=rmse.__getitem__) in (SERVED_RATING, "Bayesian SVD, large")


def _arriving() -> pd.DataFrame:
    """The world of blocks, in which one user comes after the other: so there are new users after every cut."""
    ratings = blocks(users=15)
    arrival = {
        user: n
        for n, user in enumerate(np.random.default_rng(0).permutation(sorted(set(ratings["user_id"]))))
    }
    return ratings.assign(
        time=[arrival[u] * 1000 * SECOND + t for u, t in zip(ratings.user_id, ratings.time, strict=True)]
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each block's users have an occupation of their own."""
    directory, ratings = tmp_path_factory.mktemp("base"), _arriving()
    table = ratings.rename(columns={"value": "rating"}).assign(time=ratings["time"] // SECOND)
    table.to_csv(directory / "ratings.csv", index=False)
    users = [f"{user},30,F,of-{user[:2]},90210" for user in sorted(set(ratings["user_id"]))]
    (directory / "users.csv").write_text("\n".join(["user_id,age,gender,occupation,zip", *users]) + "\n")
    return directory


def _results(base: Path, cache: Path, systems: list[str], progress: Progress) -> ModelReport:
    found = sources.read_base(base, datetime(2000, 1, 1, tzinfo=UTC))
    data = Dataset.from_frames(found.ratings, sources.empty_interactions(), 1.0, 5.0, found.side_information)
    return compare.compare(
        data,
        found.side_information,
        QUICK,
        cache=cache,
        systems=systems,
        today=date(2026, 1, 1),
        progress=progress,
    )


def test_the_command_on_a_small_world(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every system under every protocol, with intervals around figures, sizes and times; where groups differ by
    construction, lists by cohort are better than the popular one."""
    params = tmp_path / "params.yaml"
    params.write_bytes(msgspec.yaml.encode(QUICK))
    only = [word for name in ALL_BUT_LARGE for word in ("--only", name)]
    words = [
        "--base",
        str(base),
        "--out",
        str(tmp_path),
        "--cache",
        str(tmp_path / "cache"),
        "--params",
        str(params),
    ]
    assert main([*words, *only]) == 0
    assert (tmp_path / "docs/models.md").read_text().count("docs") == 0
    assert capsys.readouterr().out.splitlines()[0] == "docs/models.md"
    results = msgspec.json.decode((tmp_path / report.RESULTS).read_bytes(), type=ModelReport)
    for protocol in results.protocols:
        assert [row.name for row in protocol.rows] == ALL_BUT_LARGE
        for row in protocol.rows:
            for figure in row.figures.values():
                assert figure.low <= figure.value <= figure.high
            assert min(row.in_memory, row.answer_us) > 0
            assert row.on_disk >= row.in_memory
    ndcg = {row.name: row.figures["ndcg@10"].value for row in results.protocols[0].rows}
    assert ndcg[SERVED_RANKING] > ndcg["popularity"] + 0.1
    for compared in results.cohorts.past.values():
        assert compared[0].low > 0
    assert [cut.at for cut in results.cuts] == list(backtest_windows.CUTS[1:])


def test_an_unknown_system_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "magic"]) == 1
    assert "there is no system 'magic'; there is popularity, bias only" in capsys.readouterr().err


def test_what_was_measured_before_a_kill_is_not_measured_again(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it comes to the same numbers; a damaged file is made anew."""
    measured: list[str] = []

    def counting(entry: object, split: object, params: Params) -> Arrays:
        measured.append(split.name)  # type: ignore[attr-defined]
        return measure(entry, split, params)  # type: ignore[arg-type]

    def killer(step: str, done: float) -> None:
        if len(measured) == 3:
            raise Killed

    def quiet(step: str, done: float) -> None:
        pass

    measure = compare.measure
    monkeypatch.setattr(compare, "measure", counting)
    systems = ["popularity", "bias only"]
    with pytest.raises(Killed):
        _results(base, tmp_path, systems, killer)
    assert len(list(tmp_path.iterdir())) == 3
    next(tmp_path.iterdir()).write_bytes(b"PK torn")
    whole = _results(base, tmp_path, systems, quiet)
    assert len(measured) == 3 + 1 + (2 * 7 - 3)
    again = _results(base, tmp_path, systems, quiet)
    assert msgspec.structs.replace(again, machine=whole.machine) == whole
    assert len(measured) == 15


def test_a_user_of_several_splits_is_one_user() -> None:
    """Sums are by user over all splits, and a figure is that of all ratings together."""
    parts: list[Arrays] = [
        {"users": np.array([1, 4]), "squared": np.array([1.0, 2.0]), "counts": np.array([1.0, 1.0])},
        {"users": np.array([4, 7]), "squared": np.array([3.0, 4.0]), "counts": np.array([2.0, 1.0])},
    ]
    assert aggregate.by_user(parts, "users", "squared").tolist() == [1.0, 5.0, 4.0]
    assert aggregate.by_user(parts, "users", None).tolist() == [1.0, 2.0, 1.0]


def test_coverage_is_what_anybody_is_shown() -> None:
    """Two users who are shown the same three of ten items; and two with lists that have nothing in common."""
    same: Arrays = {"ranked": np.array([0, 1]), "shown": np.array([[0, 1, 2], [2, 1, 0]])}
    apart: Arrays = {"ranked": np.array([0, 1]), "shown": np.array([[0, 1, 2], [3, 4, 5]])}
    one, two = aggregate.coverage([same], 10, SETTINGS), aggregate.coverage([apart], 10, SETTINGS)
    assert (one.value, one.low, one.high) == pytest.approx((0.3, 0.3, 0.3))
    assert two.value == pytest.approx(0.6)
    assert two.low < 0.6 < two.high
    assert aggregate.coverage([same, apart], 10, SETTINGS).value == pytest.approx(0.45)


def test_slices_follow_one_another_and_know_nothing_of_what_comes(base: Path) -> None:
    found = sources.read_base(base, datetime(2000, 1, 1, tzinfo=UTC))
    data = Dataset.from_frames(found.ratings, sources.empty_interactions(), 1.0, 5.0, SideInformation())
    parts = [backtest_windows.split_at(data, at) for at in backtest_windows.CUTS]
    for split in parts:
        assert split.train.ratings.times.max() < split.test.times.min()
    for split, following in pairwise(parts):
        assert len(following.train.ratings) == len(split.train.ratings) + len(split.test)
    assert len(parts[-1].train.ratings) + len(parts[-1].test) == len(data.ratings)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_the_ends_lie_between_the_ticks(low: float, span: float) -> None:
    ticks = svg._ticks(low, low + span)
    slack = (ticks[-1] - ticks[0]) * 1e-6 + 1e-9
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 8
    assert all(a < b for a, b in pairwise(ticks))


def test_plots_are_small_and_well_formed() -> None:
    """Names are escaped; there is a style for a dark page."""
    panels = [svg.SvgPanel("a < b", {"x & y": (0.5, 0.4, 0.6)}, 0.8), svg.SvgPanel("empty", {})]
    for drawn in (
        svg.intervals("about", ["x & y"], panels, ["x & y"]),
        svg.scatter("about", {"x & y": (0.1, 0.9), "z": (10.0, 0.91)}, ("s", "RMSE"), ["z"]),
    ):
        assert ET.fromstring(drawn).tag.endswith("svg")
        assert "prefers-color-scheme:dark" in drawn
        assert len(drawn) < 6000
