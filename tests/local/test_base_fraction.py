"""What the demo trains on and what it replays: all of the base data, and nothing twice."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from marquee.data import sources
from marquee.local.system import REPLAYED
from marquee.simulate import replay

NEVER = datetime(2100, 1, 1, tzinfo=UTC)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_trained_and_replayed_are_parts_of_the_whole(seconds: list[int]) -> None:
    """However many ratings share a second, each is on one side of the cut, the earlier ones in training."""
    with TemporaryDirectory() as folder:
        rows = write(Path(folder), seconds)
        learnt = sources.read_base(Path(folder), NEVER, 1 - REPLAYED).ratings
        later = replay.split_base_data(Path(folder), REPLAYED).later
    trained = set(learnt["movie_id"])
    replayed = {row.movie_id for row in later}
    assert trained | replayed == set(rows)
    assert not trained & replayed
    assert max((rows[m] for m in trained), default=-1) < min(rows[m] for m in replayed)


def write(folder: Path, seconds: list[int]) -> dict[str, int]:
    """One rating of a movie of its own at each of ``seconds``; movie -> second."""
    rows = {f"film+{number}+1999": second for number, second in enumerate(seconds)}
    with (folder / "ratings.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["user_id", "movie_id", "rating", "time"], *((1, m, 3, s) for m, s in rows.items())]
        )
    with (folder / "movies.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["movie_id", "title", "year", "genres"], *((m, m, 1999, "") for m in rows)]
        )
    return rows
