"""Stored rows and disks that a retraining cannot use: it leaves them out, waits, or says what to do."""

from __future__ import annotations

import errno
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.synthetic_data import blocks, write_base
from tests.training.runs import GOOD, PARAMS_FILE

from marquee.cli.main import main
from marquee.data import deterministic_io
from marquee.data.snapshot import SnapshotRequest
from marquee.db import retrain_runs
from marquee.db.pool import Database
from marquee.errors import TooFewRatings, TrainingDataError, WorkingDirectoryUnwritable
from marquee.models.trainer_port import no_progress
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.pipeline.check_step import check_snapshot, read_checks
from marquee.training.pipeline.pipeline_run import PipelineRun
from marquee.training.pipeline.snapshot_step import take_snapshot
from marquee.training.retrain import retrain

AFTER_ALL_EVENTS = datetime(2100, 1, 1, tzinfo=UTC)
LIVE_TIME = datetime(2026, 2, 14, 12, 0, tzinfo=UTC)


def request(base: Path | None) -> SnapshotRequest:
    return SnapshotRequest(AFTER_ALL_EVENTS, base, 1.0, 5.0)


def insert_rating(database: Database, time: str, user_id: str = "u0-000", movie_id: str = "b0+0001") -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO topics (topic, topic_id) VALUES ('t', %s) RETURNING topic_key", (time + user_id,))
        (topic_key,) = cursor.fetchone()
        cursor.execute(
            'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
            " VALUES (%s, %s, 0, 0, %s, %s, 4)",
            (time, topic_key, user_id, movie_id),
        )


def insert_session(database: Database, started: str) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO watch_sessions (user_id, movie_id, started, ended, first_minute, last_minute)"
            " VALUES ('u0-001', 'b0+0001', %s, %s, 0, 90)",
            (started, started),
        )


@pytest.mark.servers
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00Z",
        "4713-01-01 00:00Z BC",
        "1022-11-14T12:24Z",
        "1601-01-01T00:00Z",
        "1677-12-31T23:59Z",
        "2262-04-12T00:00Z",
        "9999-12-31T23:59Z",
        "-infinity",
        "infinity",
    ],
)
def test_check_snapshot_stored_row_of_an_implausible_year_is_left_out(
    store: ObjectStore, base: Path, tmp_path: Path, database_url: str, time: str, zone: str
) -> None:
    """One row dated at an end of the calendar, in any time zone, is counted; all others are in the snapshot."""
    url = f"{database_url}{'&' if '?' in database_url else '?'}options=-ctimezone%3D{zone}"
    with closing(Database(url)) as database:
        insert_rating(database, "2026-02-14T12:00Z")
        insert_rating(database, time)
        insert_session(database, time)
        until = datetime.max.replace(tzinfo=UTC)
        run = PipelineRun(tmp_path, GOOD, replace(request(base), until=until), no_progress, database)
        take_snapshot(run)
    check_snapshot(run)
    checks = read_checks(run)
    assert checks.left_out == {"ratings: time": 1, "watch_sessions: time": 1}
    assert checks.profile.newest == LIVE_TIME


@pytest.mark.servers
def test_retrain_one_implausible_row_releases_a_model(store: ObjectStore, base: Path, database: Database) -> None:
    """Such a row, or an id that no request can name, does not stop a retraining."""
    for time in ("1022-11-14T12:24Z", "0001-01-01T00:00Z"):
        insert_rating(database, time)
    insert_rating(database, "2026-02-14T12:00Z", user_id="a/b")
    insert_rating(database, "2026-02-14T12:01Z", user_id="")
    result = retrain(request(base), GOOD, store, database)
    assert (result.outcome, result.version is None) == ("released", False)


@pytest.mark.servers
def test_retrain_without_base_and_ratings_waits(
    store: ObjectStore, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new system has nothing to learn from yet: an outcome and exit code of its own, and no failure."""
    for ratings in ((), ("u1",), ("u1", "u2")):
        for user_id in ratings:
            insert_rating(database, f"2026-02-1{len(ratings)}T12:00Z", user_id=user_id)
        result = retrain(request(None), GOOD, store, database)
        assert result.outcome == "waiting"
        assert result.reason.startswith("nothing to learn from yet: ")
    assert "2 of 3 ratings" in result.reason or "3 of 3 ratings" in result.reason
    assert "fewer than 3 users" in result.reason
    assert {row.outcome for row in retrain_runs.latest_runs(database)} == {"waiting"}
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{tmp_path}/objects")
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    monkeypatch.delenv("MARQUEE_BASE_DATA", raising=False)
    assert main(["retrain", "--params", str(PARAMS_FILE)]) == 4


def test_retrain_base_data_without_ratings_fails(store: ObjectStore, tmp_path: Path) -> None:
    """Base data were given, so that too few ratings are an error."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base/ratings.csv").write_text("user_id,movie_id,rating,time\n1,a/b,4,1000\n")
    with pytest.raises(TooFewRatings, match=r"no ratings to learn from: 1 rows were left out \(ratings\.csv: id\)"):
        retrain(request(tmp_path / "base"), GOOD, store)


def test_retrain_scale_of_base_data_is_mapped(store: ObjectStore, tmp_path: Path) -> None:
    """Ratings on another scale are refused without its name, and equal those of the usual scale with it."""
    usual, other = blocks(), blocks()
    other["value"] = 0.5 + (other["value"] - 1) * 4.5 / 4
    bases = [write_base(tmp_path / name, frame) for name, frame in (("usual", usual), ("other", other))]
    with pytest.raises(TrainingDataError, match=r"outside the scale of 1 to 5.*--scale 0\.5-5"):
        retrain(request(bases[1]), GOOD, store)
    result = retrain(replace(request(bases[1]), scale=(0.5, 5.0)), GOOD, store)
    assert result.version is not None
    manifest = read_manifest(store, result.version)
    expected = retrain(request(bases[0]), GOOD, connect(f"file://{tmp_path}/expected"))
    assert manifest.mean == pytest.approx(usual["value"].mean())
    assert result.evaluation is not None
    assert expected.evaluation is not None
    assert result.evaluation.metrics["model"]["rmse"].value == pytest.approx(
        expected.evaluation.metrics["model"]["rmse"].value, abs=1e-6
    )
    assert manifest.provenance.parameters["snapshot"]["scale"] == [0.5, 5.0]


@pytest.mark.parametrize("scale", ["5", "5-1", "a-b", "1-inf", ""])
def test_retrain_command_wrong_scale_is_refused(scale: str) -> None:
    """A scale is two numbers in order."""
    with pytest.raises(SystemExit, match="2"):
        main(["retrain", "--scale", scale])


def test_retrain_full_disk_is_a_sentence(store: ObjectStore, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full temporary directory is an error that names it and TMPDIR."""

    def fail(path: Path, _: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(deterministic_io, "write_interactions", fail)
    with pytest.raises(WorkingDirectoryUnwritable, match=r"No space left.*set TMPDIR to a directory"):
        retrain(request(base), GOOD, store)


def test_retrain_without_temporary_directory_is_a_sentence(
    store: ObjectStore, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary directory that does not exist is the same error."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(WorkingDirectoryUnwritable, match="set TMPDIR"):
        retrain(request(base), GOOD, store)


def test_data_check_reports_what_was_read_and_refused(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints a line for each table, what is left out and why, and each refusal; it then ends with 1."""
    rows = (base / "ratings.csv").read_text()
    (base / "ratings.csv").write_text(rows + "u,bad/id,4,1000000\nu,b0+0001,4,-99999999999\n")
    assert main(["data", "check", str(base)]) == 0
    output = capsys.readouterr().out
    assert f"{len(rows.splitlines()) - 1} ratings of 1 to 5 by 100 users of 49 movies, 1970-01-01" in output
    assert "times in s" in output
    assert "1 rows left out (the id of a user or a movie is not 1 to 128 characters" in output
    assert "1 rows left out (the time is before 1678 or after 2261)" in output
    (base / "users.csv").write_text("id,age\n1,²\n")
    (base / "ratings.csv").write_text(rows.replace(",5.0,", ",9,"))
    assert main(["data", "check", str(base)]) == 1
    output = capsys.readouterr().out
    assert "ratings are outside the scale of 1 to 5; name the scale of the data, such as --scale 1-9" in output
    assert "users.csv: 1 of 1 rows are unreadable (the first: line 2: age '²' is not a number" in output
    assert main(["data", "check", str(base), "--scale", "1-9"]) == 1
    assert "outside" not in capsys.readouterr().out
