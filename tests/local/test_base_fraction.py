"""Training and replay divide the base data between them."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from marquee.data import sources
from marquee.local.local_settings import REPLAY_FRACTION
from marquee.simulate import replay

NEVER = datetime(2100, 1, 1, tzinfo=UTC)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_base_data_any_times_are_divided_between_training_and_replay(seconds: list[int]) -> None:
    """Every rating is trained on or replayed, never both, and trained ones are earlier."""
    with TemporaryDirectory() as folder:
        times = write_base_data(Path(folder), seconds)
        ratings = sources.read_base(Path(folder), NEVER, 1 - REPLAY_FRACTION).ratings
        later = replay.split_base_data(Path(folder), REPLAY_FRACTION).later
    trained = set(ratings["movie_id"])
    replayed = {row.movie_id for row in later}
    assert trained | replayed == set(times)
    assert not trained & replayed
    assert max((times[m] for m in trained), default=-1) < min(times[m] for m in replayed)


def write_base_data(folder: Path, seconds: list[int]) -> dict[str, int]:
    """Write one rating of a distinct movie at each of ``seconds``; return movie id -> second."""
    times = {f"film+{number}+1999": second for number, second in enumerate(seconds)}
    with (folder / "ratings.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["user_id", "movie_id", "rating", "time"], *((1, m, 3, s) for m, s in times.items())]
        )
    with (folder / "movies.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["movie_id", "title", "year", "genres"], *((m, m, 1999, "") for m in times)])
    return times
