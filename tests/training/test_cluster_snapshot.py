"""Snapshot of a cluster's run: its parts hold what one process reads from the same sources."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from tests.training.runs import PARAMS
from tests.training.shard_lists import ShardList
from tests.training.test_retrain import insert_ratings

from marquee.config.base_data import MOVIES_FILE, RATINGS_FILE, USERS_FILE
from marquee.data.snapshot import SnapshotRequest
from marquee.data.sources import read_base, read_database
from marquee.db.pool import Database
from marquee.models.trainer_port import no_progress
from marquee.training.cluster.snapshot_parts import read_item_side, write_parts
from marquee.training.cluster.user_shards import Staging
from marquee.training.pipeline.pipeline_run import PipelineRun

START, UNTIL = datetime(2026, 2, 1, 12, tzinfo=UTC), datetime(2026, 2, 20, tzinfo=UTC)


class _Context:
    """The operation of a Spark context that makes a distributed list."""

    def parallelize(self, values: Sequence[Any], parts: int) -> ShardList:
        return ShardList(values)


def _read_parts(objects: Path, source: str) -> list[pd.DataFrame]:
    return [pd.read_parquet(path) for path in sorted(objects.glob(f"staging/run/snapshot/{source}-*.parquet"))]


def _sorted_rows(*frames: pd.DataFrame) -> list[tuple[Any, ...]]:
    return sorted(
        row
        for frame in frames
        for row in frame.astype({"user_id": str, "movie_id": str}).itertuples(index=False, name=None)
    )


def test_parts_hold_what_one_process_reads(database: Database, tmp_path: Path) -> None:
    """Days of about equal size go to several parts; rows, causes of rows left out and movies are the same."""
    rows = [(START + timedelta(days=n % 9), f"u{n}", f"m+{n % 5}", n % 5 + 1) for n in range(90)]
    insert_ratings(database, *rows, (START, "u,\n", "m+1", 3), (UNTIL, "u1", "late+1", 3))
    base = tmp_path / "base"
    base.mkdir()
    (base / RATINGS_FILE).write_text("user_id,movie_id,rating,time\nu1,old+1,4,10\nu2,old+2,5,20\n")
    (base / USERS_FILE).write_text("user_id,gender\nu1,F\n")
    (base / MOVIES_FILE).write_text("movie_id,genres\nold+1,Drama\nold+3,Comedy\n")
    request = SnapshotRequest(UNTIL, base, 1.0, 5.0)
    run = PipelineRun(tmp_path / "run", PARAMS, request, no_progress, database)
    objects = tmp_path / "objects"
    staging = Staging(objects.as_uri(), "run")
    staging.write("snapshot/ratings-00009.parquet", b"of a killed attempt")
    write_parts(_Context(), staging, run, 3)
    live, local = _read_parts(objects, "ratings"), read_database(database, UNTIL)
    assert [len(part) for part in live] == [30, 30, 30]
    assert _sorted_rows(*live) == _sorted_rows(local.ratings)
    assert not _read_parts(objects, "watch_sessions")
    own = read_base(base, UNTIL)
    assert _sorted_rows(*_read_parts(objects, "base")) == _sorted_rows(own.ratings)
    (users,) = _read_parts(objects, "users")
    assert users.to_numpy().tolist() == [["u1", '{"user_id":"u1","gender":"F"}']]
    about, movies = read_item_side(run)
    assert set(movies) == set(own.movies)
    assert about.left_out == local.left_out == {"ratings: id": 1}
    assert about.files == dict(own.hashes)
