"""The steps' files: what is written is read back, checked, and compared with the last snapshot."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.synthetic_data import DAY, SECOND, blocks, dataset, frame
from tests.training.runs import PARAMS_FILE

from marquee.cli.main import main
from marquee.config import atomic_file
from marquee.data import deterministic_io, dvc_hash, snapshot
from marquee.data.dataset import Dataset
from marquee.data.dataset_files import read_dataset, read_model, write_dataset, write_model
from marquee.data.side_information import SideInformation
from marquee.data.splits import temporal_holdout
from marquee.db.pool import Database
from marquee.errors import SettingsError, TrainingDataError
from marquee.evaluation import group_fairness
from marquee.evaluation.offline import EvaluationParams
from marquee.monitoring.drift import DataProfile, stability_index
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.training import snapshot_drift
from marquee.training.params import Params
from marquee.training.pipeline import pipeline_run
from marquee.training.pipeline.check_step import check
from marquee.training.pipeline.snapshot_step import take_snapshot

PARAMS = Params.read(PARAMS_FILE)
LATE = datetime(2100, 1, 1, tzinfo=UTC)
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(IDS, IDS, st.floats(allow_nan=False), st.integers(-(2**62), 2**62)), max_size=20))
def test_interactions_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:  # type: ignore[type-arg]
    """Any text, number and time is read as it was written, and equal tables are equal bytes."""
    directory = tmp_path_factory.mktemp("tables")
    written = frame(*rows)
    for name in ("one", "two"):
        deterministic_io.write_interactions(directory / name, written)
    assert deterministic_io.read_interactions(directory / "one").equals(written)
    assert (directory / "one").read_bytes() == (directory / "two").read_bytes()


def test_another_schema_is_refused(tmp_path: Path) -> None:
    """A table with other columns, and a file that is no table, are named with what was expected."""
    deterministic_io.write_texts(tmp_path / "users.parquet", "user_id", {"1": {"age": "24"}})
    with pytest.raises(
        TrainingDataError, match=r"should have the columns user_id string.*it has user_id string, age"
    ):
        deterministic_io.read_interactions(tmp_path / "users.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(TrainingDataError, match="cannot be read as a Parquet table"):
        deterministic_io.read_interactions(tmp_path / "torn.parquet")


def test_facts_come_back(tmp_path: Path) -> None:
    """What one row lacks is unknown, which is the empty text."""
    deterministic_io.write_texts(
        tmp_path / "t", "user_id", {"2": {"user_id": "2", "age": "24"}, "1": {"zip": "02139"}}
    )
    assert deterministic_io.read_texts(tmp_path / "t", "user_id") == {
        "1": {"user_id": "1", "age": "", "zip": "02139"},
        "2": {"user_id": "2", "age": "24", "zip": ""},
    }


def test_nothing_half_written_appears(tmp_path: Path) -> None:
    """A step that dies leaves what was there before, and the next try is not in its way."""
    path = tmp_path / "out"
    with atomic_file.atomic_directory(path) as out:
        (out / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file.atomic_directory(path) as out:
        (out / "a").write_text(f"ne{1 // 0}")
    assert (path / "a").read_text() == "old"
    with atomic_file.atomic_directory(path) as out:
        (out / "b").write_text("new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    assert sorted(p.name for p in path.iterdir()) == ["b"]


def test_a_dataset_comes_back(tmp_path: Path) -> None:
    """Ids, columns, features and scale: the same digest."""
    facts = SideInformation(
        {"u0-001": {"age": "24", "gender": "F"}}, {"bad+0000": {"year": "1990", "genres": "A|B"}}
    )
    made = Dataset.from_frames(blocks(), frame(("w", "b0+0001", 90.0, 5)), 1.0, 10.0, facts)
    write_dataset(tmp_path / "d", made)
    back = read_dataset(tmp_path / "d")
    assert back.sha256() == made.sha256()
    assert (len(back.user_features), len(back.item_features), back.rating_max) == (1, 1, 10.0)


def test_a_model_comes_back(tmp_path: Path) -> None:
    """Every array bit for bit, every number exactly."""
    made = a_model()
    write_model(tmp_path / "m", made)
    back = read_model(tmp_path / "m")
    assert (list(back.user_ids), list(back.movie_ids), back.mean) == (["ü", "b"], ["x+1", "y+2"], 1 / 3)
    assert back.user_vectors.tobytes() == made.user_vectors.tobytes()
    assert np.isnan(back.histories.ratings[1])
    back.check()


def a_model(mean: float = 1 / 3, user_biases: tuple[float, float] = (0.0, 0.0)) -> TrainedModel:
    """Of two users and two movies; everything not given is zeros or ones."""

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    histories = Histories.from_entries(2, np.array([0, 1]), np.array([1, 0]), np.array([3.0, np.nan]))
    return TrainedModel(
        user_ids=["ü", "b"],
        movie_ids=["x+1", "y+2"],
        mean=mean,
        user_biases=np.array(user_biases, np.float32),
        user_vectors=np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
        item_biases=zeros(2),
        item_vectors=zeros(2, 3),
        rank_items=zeros(2, 2),
        rank_history=zeros(2, 2),
        popularity=np.ones(2, np.float32),
        histories=histories,
        rating_min=1.0,
        rating_max=5.0,
        prior_mean=zeros(4),
        prior_precision=np.eye(4, dtype=np.float32),
        noise_precision=1.0,
    )


def request(base: Path | None) -> snapshot.SnapshotRequest:
    return snapshot.SnapshotRequest(LATE, base, 1.0, 5.0)


def checked(directory: Path, ratings: str) -> pipeline_run.PipelineRun:
    """The first two steps on a ``ratings.csv``."""
    (directory / "base").mkdir()
    (directory / "base/ratings.csv").write_text(ratings)
    run = pipeline_run.PipelineRun(directory, PARAMS, request(directory / "base"))
    take_snapshot(run)
    check(run)
    return run


def test_what_the_check_reports(tmp_path: Path) -> None:
    """A pair that was rated twice counts once, with the newer rating, and the report says so."""
    run = checked(tmp_path, "user_id,movie_id,rating,time\n1,a+1,4,10\n2,a+1,2,11\n1,b+2,5,12\n1,a+1,1,13\n")
    report = pipeline_run.read_checks(run)
    assert (report.doubled, report.unlisted, report.drift) == (1, 0, [])
    assert (report.profile.ratings, report.profile.users, report.profile.movies) == (3, 2, 2)
    ratings = deterministic_io.read_interactions(run.at(pipeline_run.CHECKED) / "ratings.parquet")
    assert ratings.query("user_id == '1' and movie_id == 'a+1'")["value"].tolist() == [1.0]


@pytest.mark.parametrize("rating", ["6", "0", "nan"])
def test_what_the_check_refuses(tmp_path: Path, rating: str) -> None:
    """A rating out of range or no number stops the run, and nothing checked appears."""
    with pytest.raises(TrainingDataError, match="1 of 2 ratings are"):
        checked(tmp_path, f"user_id,movie_id,rating,time\n1,a+1,4,10\n2,a+1,{rating},11\n")
    assert not (tmp_path / pipeline_run.CHECKED).exists()


LIMITS = snapshot_drift.DriftParams(rating_psi=0.25, max_lost_fraction=0.2)
BEFORE = DataProfile(100, 0, 10, 20, datetime(2026, 1, 1, tzinfo=UTC), 0.5, (0.2, 0.2, 0.2, 0.2, 0.2))


def test_no_drift() -> None:
    """No earlier snapshot, the same again, and one that grew are all well."""
    grown = msgspec.structs.replace(BEFORE, ratings=150, users=15, newest=datetime(2026, 1, 2, tzinfo=UTC))
    assert snapshot_drift.findings(None, BEFORE, LIMITS) == []
    assert snapshot_drift.findings(BEFORE, BEFORE, LIMITS) == []
    assert snapshot_drift.findings(BEFORE, grown, LIMITS) == []


def test_drift_is_named() -> None:
    """The stability index of shares that are known by hand, and what was lost; a little is within limits."""
    shifted = msgspec.structs.replace(BEFORE, fractions=(0.1, 0.1, 0.2, 0.2, 0.4))
    expected = 2 * (-0.1) * np.log(0.5) + 0.2 * np.log(2)
    assert stability_index(BEFORE.fractions, shifted.fractions) == pytest.approx(expected)
    assert "stability index 0.277" in snapshot_drift.findings(BEFORE, shifted, LIMITS)[0]
    lost = msgspec.structs.replace(BEFORE, ratings=79, users=8, movies=16)
    assert snapshot_drift.findings(BEFORE, lost, LIMITS) == [
        "21 of 100 ratings of the snapshot that serves are missing"
    ]
    older = msgspec.structs.replace(lost, newest=datetime(2025, 1, 1, tzinfo=UTC))
    assert snapshot_drift.findings(BEFORE, older, LIMITS) == []


def test_a_profile_knows_no_scale() -> None:
    """The same tastes on 1 to 5 and on 1 to 10 have one profile."""
    five = Dataset.from_frames(blocks(), frame(), 1.0, 5.0)
    stretched = blocks()
    stretched["value"] = 1 + (stretched["value"] - 1) * 9 / 4
    ten = Dataset.from_frames(stretched, frame(), 1.0, 10.0)
    assert snapshot_drift.profile(five) == snapshot_drift.profile(ten)


def test_fairness() -> None:
    """One model, exact for women and off by one for men: the errors and the gap are known."""
    rows = [
        ("w", "x+1", 3.0, DAY),
        ("m", "x+1", 4.0, DAY),
        ("w", "y+2", 3.0, 2 * DAY),
        ("m", "y+2", 4.0, 2 * DAY),
    ]
    data = dataset(frame(*rows))
    assert list(data.user_ids) == ["m", "w"]
    model = replace(a_model(mean=3.0), user_ids=["m", "w"])
    known = {"w": {"gender": "F", "age": "24"}, "m": {"gender": "M"}}
    found = group_fairness.evaluate_groups(
        model,
        temporal_holdout(data, 0.5),
        known,
        group_fairness.FairnessParams(min_users=1),
        EvaluationParams(100, 0.95),
        1,
        "hash",
    )
    values = {kind: {g: f.value for g, f in groups.items()} for kind, groups in found.rmse.items()}
    assert values["gender"] == {"F": 0.0, "M": 1.0}
    assert values["age"] == {"18-24": 0.0, "unknown": 1.0}
    assert list(values["activity"]) == ["1-50 ratings"]
    assert found.gap == {"gender": 1.0, "age": 0.0, "activity": 0.0}


@pytest.mark.parametrize("until", ["tomorrow", "2026-02-14T00:09"])
def test_a_moment_needs_a_zone(until: str) -> None:
    """The event time in params.yaml is a moment on every machine, or an error with an example."""
    wrong = msgspec.structs.replace(PARAMS.snapshot, until=until)
    with pytest.raises(SettingsError, match="2000-01-01T00:00:00Z"):
        wrong.to_request()


def test_seconds_and_microseconds() -> None:
    """The time of the newest event is exact."""
    data = dataset(frame(("u", "a+1", 3.0, 1 * SECOND + 1), ("v", "a+1", 4.0, 2)))
    assert snapshot_drift.profile(data).newest == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)


@pytest.mark.servers
def test_a_snapshot_of_the_database(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`marquee pipeline snapshot` with ``database: true``: what came before ``until``, to the microsecond, and
    nothing later; taken again it is the same bytes."""
    until = datetime(2026, 2, 14, 12, 0, tzinfo=UTC)
    with closing(Database(database_url)) as database, database.transaction() as cursor:
        cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('t', 'x') RETURNING topic_key")
        (topic_key,) = cursor.fetchone()
        for offset, time in enumerate((until - timedelta(microseconds=1), until)):
            cursor.execute(
                'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, %s, 0, %s, 'u', %s, 4)",
                (time, topic_key, offset, f"film+{offset}"),
            )
    text = PARAMS_FILE.read_text().replace("database: false", "database: true")
    text = text.replace('until: "2000-01-01T00:00:00Z"', f'until: "{until.isoformat()}"')
    (tmp_path / "params.yaml").write_text(text.replace("base: data/movielens-100k", 'base: ""'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    monkeypatch.delenv("MARQUEE_OBJECTS_URL", raising=False)
    hashes = []
    for _ in range(2):
        assert main(["pipeline", "snapshot"]) == 0
        hashes.append(dvc_hash.hash_path(tmp_path / pipeline_run.SNAPSHOT))
    assert hashes[0] == hashes[1]
    taken = snapshot.read_snapshot(tmp_path / pipeline_run.SNAPSHOT)
    assert taken.about.database
    assert taken.live.ratings["movie_id"].tolist() == ["film+0"]


def test_a_step_that_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown step is an error that lists the steps."""
    (tmp_path / "params.yaml").write_text(PARAMS_FILE.read_text())
    monkeypatch.chdir(tmp_path)
    assert main(["pipeline", "deploy"]) == 1
    assert "there is snapshot, check, features, train, evaluate, fairness, publish" in capsys.readouterr().err
