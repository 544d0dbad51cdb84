"""What cannot be learnt from is refused with a sentence that says what was found."""

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.synthetic_data import SECOND, frame

from marquee.data import base_checks, sources
from marquee.errors import TrainingDataError

LATE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("u", "a+1", math.nan, 1), "1 of 2 ratings are not finite"),
        (("u", "a+1", math.inf, 1), "1 of 2 ratings are not finite"),
        (("u", "a+1", 0.0, 1), "outside the scale of 1 to 5.*user u, movie a\\+1: 0.0"),
        (("u", "a+1", 6.0, 1), "outside the scale"),
        (("", "a+1", 3.0, 1), "lack a user"),
        (("u", "", 3.0, 1), "lack a user or a movie"),
    ],
)
def test_unsound_ratings(row: tuple[str, str, float, int], says: str) -> None:
    """One rating that cannot be is named, with an example and what to do."""
    with pytest.raises(TrainingDataError, match=says):
        base_checks.validate_ratings(frame(("v", "a+1", 4.0, 1), row), 1, 5)


def test_nothing_and_a_constant() -> None:
    """No rating at all, and ratings that are all alike, have an error each."""
    with pytest.raises(TrainingDataError, match="no ratings"):
        base_checks.drop_duplicate_ratings(frame())
    with pytest.raises(TrainingDataError, match="all 2 ratings are 4"):
        base_checks.drop_duplicate_ratings(frame(("u", "a+1", 4.0, 1), ("v", "a+1", 4.0, 2)))


def test_the_newest_rating_wins() -> None:
    """Who rated twice meant the second; of two at one moment the higher one stays, in whatever order."""
    rows = [("u", "a+1", 2.0, 9), ("u", "a+1", 5.0, 3), ("v", "a+1", 1.0, 4), ("v", "a+1", 3.0, 4)]
    for order in (rows, rows[::-1]):
        kept = base_checks.latest_per_pair(frame(*order))
        assert sorted(zip(kept["user_id"], kept["value"], strict=True)) == [("u", 2.0), ("v", 3.0)]


def test_movies_that_only_a_corrupted_line_names_are_left_out() -> None:
    """A movie counts when the base data list it, or when enough different users rated or watched it."""
    rated = frame(("u", "listed+1", 4.0, 1), ("u", "new+1", 4.0, 1), ("u", "typo+1", 4.0, 1))
    watched = frame(("v", "new+1", 90.0, 1), ("u", "new+1", 90.0, 1), ("u", "typo+1", 50.0, 1))
    assert base_checks.known_movies([rated, watched], {"listed+1"}, 2) == {"listed+1", "new+1"}


def test_base_data(base_data: Path) -> None:
    """The base data are read up to a moment or a share, with their hashes, on the scale that is asked for."""
    whole = sources.read_base(base_data, LATE)
    earlier = sources.read_base(base_data, LATE, 0.8)
    assert (len(whole.ratings), len(earlier.ratings), len(whole.movies)) == (100_000, 79_999, 1682)
    assert earlier.ratings.equals(whole.ratings.head(79_999))
    cut = datetime.fromtimestamp(whole.ratings["time"].iloc[500] // SECOND, UTC)
    assert sources.read_base(base_data, cut).ratings["time"].max() < whole.ratings["time"].iloc[500]
    assert [name for name, _ in whole.hashes] == ["ratings.csv", "users.csv", "movies.csv"]
    assert sorted(whole.on_scale(1, 5, 10).ratings["value"].unique()) == [1, 3.25, 5.5, 7.75, 10]


def test_base_data_that_are_not_there_or_not_ratings(tmp_path: Path) -> None:
    """The error names the file, and how to get it or what it should hold."""
    with pytest.raises(TrainingDataError, match="marquee data fetch"):
        sources.read_base(tmp_path, LATE)
    (tmp_path / "ratings.csv").write_text("user,movie\n1,2\n")
    with pytest.raises(TrainingDataError, match="columns user_id, movie_id, rating, time"):
        sources.read_base(tmp_path, LATE)
    (tmp_path / "ratings.csv").write_text("user_id,movie_id,rating,time\n1,a+1,many,3\n")
    with pytest.raises(TrainingDataError, match="many"):
        sources.read_base(tmp_path, LATE)
