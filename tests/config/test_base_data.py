"""Tables of base data, and their division in time."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.config.base_data import earliest_fraction_end
from marquee.config.csv_file import read_csv
from marquee.errors import TrainingDataError


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40).map(sorted), st.floats(0, 1))
def test_earliest_fraction_end_any_times_is_nearest_whole_second(times: list[int], fraction: float) -> None:
    """Earlier ratings are at most ``fraction`` of all, rounded; those up to the end are at least as many."""
    end = earliest_fraction_end(times, fraction)
    assert end in times
    assert sum(time < end for time in times) <= round(fraction * len(times))
    assert sum(time <= end for time in times) >= min(len(times), round(fraction * len(times)))


def test_read_csv_missing_column_is_named(tmp_path: Path) -> None:
    """The error names the file, the missing column and the columns that are needed."""
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    assert list(read_csv(path, ["a"])) == [{"a": "1", "b": "2"}]
    with pytest.raises(TrainingDataError, match=r"table\.csv has no column c; it needs the columns a, c"):
        list(read_csv(path, ["a", "c"]))


def test_read_csv_missing_file_is_an_error(tmp_path: Path) -> None:
    """The error tells how to get the file."""
    with pytest.raises(TrainingDataError, match="marquee data fetch"):
        list(read_csv(tmp_path / "table.csv"))
