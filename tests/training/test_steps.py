"""Pipeline steps: snapshot, checks, drift and fairness."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.support.synthetic_data import DAY, SECOND, blocks, dataset, frame
from tests.training.runs import PARAMS_FILE
from tests.training.small_model import small_model

from marquee.cli.main import main
from marquee.data import deterministic_io, dvc_remote, snapshot
from marquee.data.dataset import Dataset
from marquee.data.dataset_files import read_dataset
from marquee.data.splits import temporal_holdout
from marquee.db.pool import Database
from marquee.errors import SettingsError, TrainingDataError
from marquee.evaluation import group_fairness
from marquee.evaluation.bootstrap import EvaluationParams
from marquee.models.trainer_port import no_progress
from marquee.monitoring.drift import DataProfile, stability_index
from marquee.training import snapshot_drift
from marquee.training.params import Params
from marquee.training.pipeline.check_step import check_snapshot, read_checks
from marquee.training.pipeline.features_step import build_features
from marquee.training.pipeline.pipeline_run import CHECKED, FEATURES, SNAPSHOT, PipelineRun
from marquee.training.pipeline.snapshot_step import take_snapshot

PARAMS = Params.read(PARAMS_FILE)
AFTER_ALL_EVENTS = datetime(2100, 1, 1, tzinfo=UTC)


def snapshot_request(base: Path | None) -> snapshot.SnapshotRequest:
    return snapshot.SnapshotRequest(AFTER_ALL_EVENTS, base, 1.0, 5.0)


def run_checks(directory: Path, ratings: str) -> PipelineRun:
    """Run the steps ``snapshot`` and ``check`` on a ``ratings.csv``."""
    (directory / "base").mkdir()
    (directory / "base/ratings.csv").write_text(ratings)
    run = PipelineRun(directory, PARAMS, snapshot_request(directory / "base"), no_progress)
    take_snapshot(run)
    check_snapshot(run)
    return run


def test_check_snapshot_repeated_rating_keeps_newest(tmp_path: Path) -> None:
    """Of two ratings of one user and movie the newer is kept, and the report counts the other."""
    run = run_checks(tmp_path, "user_id,movie_id,rating,time\n1,a+1,4,10\n2,a+1,2,11\n1,b+2,5,12\n1,a+1,1,13\n")
    report = read_checks(run)
    assert (report.duplicate_ratings, report.unlisted_ratings, report.drift) == (1, 0, [])
    assert (report.profile.ratings, report.profile.users, report.profile.movies) == (3, 2, 2)
    ratings = deterministic_io.read_interactions(run.path(CHECKED) / "ratings.parquet")
    assert ratings.query("user_id == '1' and movie_id == 'a+1'")["value"].tolist() == [1.0]


@pytest.mark.parametrize("rating", ["6", "0", "nan"])
def test_check_snapshot_invalid_rating_fails_without_output(tmp_path: Path, rating: str) -> None:
    """A rating out of range or not a number stops the run, and the step writes nothing."""
    with pytest.raises(TrainingDataError, match="1 of 2 ratings are"):
        run_checks(tmp_path, f"user_id,movie_id,rating,time\n1,a+1,4,10\n2,a+1,{rating},11\n")
    assert not (tmp_path / CHECKED).exists()


LIMITS = snapshot_drift.DriftParams(rating_psi=0.25, max_lost_fraction=0.2)
REFERENCE = DataProfile(100, 0, 10, 20, datetime(2026, 1, 1, tzinfo=UTC), 0.5, (0.2, 0.2, 0.2, 0.2, 0.2))


def test_find_drift_equal_or_larger_snapshot_has_none() -> None:
    """A missing reference, an equal snapshot and a larger one give no finding."""
    grown = msgspec.structs.replace(REFERENCE, ratings=150, users=15, newest=datetime(2026, 1, 2, tzinfo=UTC))
    assert snapshot_drift.find_drift(None, REFERENCE, LIMITS) == []
    assert snapshot_drift.find_drift(REFERENCE, REFERENCE, LIMITS) == []
    assert snapshot_drift.find_drift(REFERENCE, grown, LIMITS) == []


def test_find_drift_shifted_or_lost_ratings_are_named() -> None:
    """A shift is reported with its stability index, and a loss above the limit with its count."""
    shifted = msgspec.structs.replace(REFERENCE, fractions=(0.1, 0.1, 0.2, 0.2, 0.4))
    expected = 2 * (-0.1) * np.log(0.5) + 0.2 * np.log(2)
    assert stability_index(REFERENCE.fractions, shifted.fractions) == pytest.approx(expected)
    assert "stability index 0.277" in snapshot_drift.find_drift(REFERENCE, shifted, LIMITS)[0]
    lost = msgspec.structs.replace(REFERENCE, ratings=79, users=8, movies=16)
    assert snapshot_drift.find_drift(REFERENCE, lost, LIMITS) == [
        "21 of 100 ratings of the serving model's snapshot are missing"
    ]
    older = msgspec.structs.replace(lost, newest=datetime(2025, 1, 1, tzinfo=UTC))
    assert snapshot_drift.find_drift(REFERENCE, older, LIMITS) == []


def test_profile_dataset_other_scale_gives_same_profile() -> None:
    """The same preferences on the scales 1 to 5 and 1 to 10 have equal profiles."""
    five = Dataset.from_frames(blocks(), frame(), 1.0, 5.0)
    rescaled = blocks()
    rescaled["value"] = 1 + (rescaled["value"] - 1) * 9 / 4
    ten = Dataset.from_frames(rescaled, frame(), 1.0, 10.0)
    assert snapshot_drift.profile_dataset(five) == snapshot_drift.profile_dataset(ten)


def test_evaluate_groups_known_errors_gives_rmse_and_gap() -> None:
    """A model that is exact for women and off by one for men has known errors and a known gap."""
    rows = [
        ("w", "x+1", 3.0, DAY),
        ("m", "x+1", 4.0, DAY),
        ("w", "y+2", 3.0, 2 * DAY),
        ("m", "y+2", 4.0, 2 * DAY),
    ]
    data = dataset(frame(*rows))
    assert list(data.user_ids) == ["m", "w"]
    model = replace(small_model(mean=3.0), user_ids=["m", "w"])
    users = {"w": {"gender": "F", "age": "24"}, "m": {"gender": "M"}}
    fairness = group_fairness.evaluate_groups(
        model,
        temporal_holdout(data, 0.5),
        users,
        group_fairness.FairnessParams(min_users=1),
        EvaluationParams(100, 0.95),
        1,
        "hash",
    )
    values = {kind: {g: f.rmse.value for g, f in groups.items()} for kind, groups in fairness.groups.items()}
    assert values["gender"] == {"F": 0.0, "M": 1.0}
    assert values["age"] == {"18-24": 0.0, "unknown": 1.0}
    assert list(values["activity"]) == ["1-50 ratings"]
    assert fairness.gap == {"gender": 1.0, "age": 0.0, "activity": 0.0}


@pytest.mark.parametrize("until", ["tomorrow", "2026-02-14T00:09"])
def test_snapshot_params_until_without_zone_fails(until: str) -> None:
    """A value of snapshot.until that is not a time with a zone is an error with an example."""
    wrong = msgspec.structs.replace(PARAMS.snapshot, until=until)
    with pytest.raises(SettingsError, match="2000-01-01T00:00:00Z"):
        wrong.to_request()


def test_profile_dataset_newest_event_is_exact_to_the_microsecond() -> None:
    """The time of the newest event has no rounding error."""
    data = dataset(frame(("u", "a+1", 3.0, 1 * SECOND + 1), ("v", "a+1", 4.0, 2)))
    assert snapshot_drift.profile_dataset(data).newest == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)


@pytest.mark.servers
def test_pipeline_snapshot_of_database_ends_before_until(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``database: true`` the snapshot holds the events before ``until``, to the microsecond.

    A second snapshot has the same bytes.
    """
    until = datetime(2026, 2, 14, 12, 0, tzinfo=UTC)
    with closing(Database(database_url)) as database, database.transaction() as cursor:
        cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('t', 'x') RETURNING topic_key")
        (topic_key,) = cursor.fetchone()
        for offset, time in enumerate((until - timedelta(microseconds=1), until)):
            cursor.execute(
                'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
                " VALUES (%s, %s, 0, %s, 'u', %s, 4)",
                (time, topic_key, offset, f"movie+{offset}"),
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
        hashes.append(dvc_remote.hash_path(tmp_path / SNAPSHOT))
    assert hashes[0] == hashes[1]
    stored = snapshot.read_snapshot(tmp_path / SNAPSHOT)
    assert stored.about.database
    assert stored.live.ratings["movie_id"].tolist() == ["movie+0"]


def test_pipeline_unknown_step_fails_with_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown step is an error that lists the steps."""
    (tmp_path / "params.yaml").write_text(PARAMS_FILE.read_text())
    monkeypatch.chdir(tmp_path)
    assert main(["pipeline", "deploy"]) == 1
    assert (
        "use one of code, snapshot, check, features, tune, train, evaluate, fairness, publish"
        in capsys.readouterr().err
    )


def test_steps_after_the_check_do_not_read_the_snapshot_ratings(tmp_path: Path) -> None:
    """Features and the manifest need the side information only: at full size the ratings take a gigabyte."""
    run = run_checks(tmp_path, "user_id,movie_id,rating,time\n1,a+1,4,10\n2,a+1,2,11\n")
    for name in (snapshot.BASE, snapshot.LIVE, snapshot.WATCH_SESSIONS):
        (run.path(SNAPSHOT) / name).unlink()
    build_features(run)
    assert read_dataset(run.path(FEATURES)).n_users == 2
