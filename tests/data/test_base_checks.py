"""Invalid training data are refused with an error that names the problem."""

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.synthetic_data import SECOND, frame

from marquee.data import base_checks, sources
from marquee.errors import TrainingDataError

LATE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("u", "a+1", math.nan, 1), "1 of 2 ratings are not finite"),
        (("u", "a+1", math.inf, 1), "1 of 2 ratings are not finite"),
        (("u", "a+1", 0.0, 1), "outside the scale of 1 to 5.*user u, movie a\\+1: 0.0"),
        (("u", "a+1", 6.0, 1), "outside the scale"),
        (("", "a+1", 3.0, 1), "lack a user"),
        (("u", "", 3.0, 1), "lack a user or a movie"),
    ],
)
def test_validate_ratings_invalid_rating_is_refused(row: tuple[str, str, float, int], message: str) -> None:
    """One invalid rating is an error with an example and the fix."""
    with pytest.raises(TrainingDataError, match=message):
        base_checks.validate_ratings(frame(("v", "a+1", 4.0, 1), row), 1, 5)


def test_drop_duplicate_ratings_empty_or_constant_is_refused() -> None:
    """No ratings, and ratings that are all equal, have an error each."""
    with pytest.raises(TrainingDataError, match="no ratings"):
        base_checks.drop_duplicate_ratings(frame())
    with pytest.raises(TrainingDataError, match="all 2 ratings are 4"):
        base_checks.drop_duplicate_ratings(frame(("u", "a+1", 4.0, 1), ("v", "a+1", 4.0, 2)))


def test_latest_per_pair_newest_rating_wins() -> None:
    """The newest rating of a pair stays; at equal times the highest, whatever the row order."""
    rows = [("u", "a+1", 2.0, 9), ("u", "a+1", 5.0, 3), ("v", "a+1", 1.0, 4), ("v", "a+1", 3.0, 4)]
    for order in (rows, rows[::-1]):
        latest = base_checks.latest_per_pair(frame(*order))
        assert sorted(zip(latest["user_id"], latest["value"], strict=True)) == [("u", 2.0), ("v", 3.0)]


def test_known_movies_unlisted_movie_needs_min_users() -> None:
    """A movie is known if the base data list it, or if enough different users rated or watched it."""
    rated = frame(("u", "listed+1", 4.0, 1), ("u", "new+1", 4.0, 1), ("u", "typo+1", 4.0, 1))
    watched = frame(("v", "new+1", 90.0, 1), ("u", "new+1", 90.0, 1), ("u", "typo+1", 50.0, 1))
    assert base_checks.known_movies([rated, watched], {"listed+1"}, 2) == {"listed+1", "new+1"}


def test_read_base_time_and_fraction_limit_the_ratings(base_data: Path) -> None:
    """Base data are read up to a time or fraction, with file hashes, on the requested scale."""
    full = sources.read_base(base_data, LATE)
    earlier = sources.read_base(base_data, LATE, 0.8)
    assert (len(full.ratings), len(earlier.ratings), len(full.movies)) == (100_000, 79_999, 1682)
    assert earlier.ratings.equals(full.ratings.head(79_999))
    split_time = datetime.fromtimestamp(full.ratings["time"].iloc[500] // SECOND, UTC)
    assert sources.read_base(base_data, split_time).ratings["time"].max() < full.ratings["time"].iloc[500]
    assert [name for name, _ in full.hashes] == ["ratings.csv", "users.csv", "movies.csv"]
    assert sorted(full.on_scale(1, 5, 1, 10).ratings["value"].unique()) == [1, 3.25, 5.5, 7.75, 10]


def test_read_base_missing_or_malformed_file_is_refused(tmp_path: Path) -> None:
    """The error names the file, and the download command or the expected columns."""
    with pytest.raises(TrainingDataError, match="marquee data fetch"):
        sources.read_base(tmp_path, LATE)
    (tmp_path / "ratings.csv").write_text("user,movie\n1,2\n")
    with pytest.raises(TrainingDataError, match="columns user_id, movie_id, rating, time"):
        sources.read_base(tmp_path, LATE)
    (tmp_path / "ratings.csv").write_text("user_id,movie_id,rating,time\n1,a+1,many,3\n")
    with pytest.raises(TrainingDataError, match="many"):
        sources.read_base(tmp_path, LATE)
