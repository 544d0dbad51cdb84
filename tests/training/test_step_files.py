"""Files between the pipeline steps: tables, datasets and models are read as they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.synthetic_data import blocks, frame
from tests.training.small_model import small_model

from marquee.config import atomic_file
from marquee.data import deterministic_io
from marquee.data.dataset import Dataset
from marquee.data.dataset_files import read_dataset, read_model, write_dataset, write_model
from marquee.data.side_information import SideInformation
from marquee.errors import TrainingDataError

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(IDS, IDS, st.floats(allow_nan=False), st.integers(-(2**62), 2**62)), max_size=20))
def test_write_interactions_round_trip_is_exact(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float, int]]
) -> None:
    """Any text, number and time is read as it was written, and equal tables are equal bytes."""
    directory = tmp_path_factory.mktemp("tables")
    interactions = frame(*rows)
    for name in ("one", "two"):
        deterministic_io.write_interactions(directory / name, interactions)
    read = deterministic_io.read_interactions(directory / "one")
    assert read.astype({"user_id": object, "movie_id": object}).equals(interactions)
    assert (directory / "one").read_bytes() == (directory / "two").read_bytes()


def test_read_interactions_other_schema_fails(tmp_path: Path) -> None:
    """A table with other columns and a file that is no table are errors that say what was expected."""
    deterministic_io.write_texts(tmp_path / "users.parquet", "user_id", {"1": {"age": "24"}})
    with pytest.raises(TrainingDataError, match=r"should have the columns user_id string.*it has user_id string, age"):
        deterministic_io.read_interactions(tmp_path / "users.parquet")
    (tmp_path / "truncated.parquet").write_bytes(b"PAR1")
    with pytest.raises(TrainingDataError, match="cannot be read as a Parquet table"):
        deterministic_io.read_interactions(tmp_path / "truncated.parquet")


def test_write_texts_missing_value_becomes_empty(tmp_path: Path) -> None:
    """A column that a row lacks is read as the empty text."""
    deterministic_io.write_texts(tmp_path / "t", "user_id", {"2": {"user_id": "2", "age": "24"}, "1": {"zip": "02139"}})
    assert deterministic_io.read_texts(tmp_path / "t", "user_id") == {
        "1": {"user_id": "1", "age": "", "zip": "02139"},
        "2": {"user_id": "2", "age": "24", "zip": ""},
    }


def test_atomic_directory_failed_write_keeps_old_content(tmp_path: Path) -> None:
    """A step that fails leaves the old directory in place and does not disturb the next attempt."""
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


def test_write_dataset_round_trip_has_same_digest(tmp_path: Path) -> None:
    """Ids, columns, features and scale are read as they were written."""
    side_information = SideInformation(
        {"u0-001": {"age": "24", "gender": "F"}}, {"bad+0000": {"year": "1990", "genres": "A|B"}}
    )
    original = Dataset.from_frames(blocks(), frame(("w", "b0+0001", 90.0, 5)), 1.0, 10.0, side_information)
    write_dataset(tmp_path / "d", original)
    read = read_dataset(tmp_path / "d")
    assert read.sha256() == original.sha256()
    assert (len(read.user_features), len(read.item_features), read.rating_max) == (1, 1, 10.0)


def test_write_model_round_trip_is_exact(tmp_path: Path) -> None:
    """Every array is read bit for bit, every number exactly."""
    original = small_model()
    write_model(tmp_path / "m", original)
    read = read_model(tmp_path / "m")
    assert (list(read.user_ids), list(read.movie_ids), read.mean) == (["ü", "b"], ["x+1", "y+2"], 1 / 3)
    assert read.user_vectors.tobytes() == original.user_vectors.tobytes()
    assert np.isnan(read.histories.ratings[1])
    read.check()
