"""Half stars and ratings of 0 to 10, from the import to live accuracy, intervals and drift on a log of 1 to 10."""

from __future__ import annotations

import math
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from tests.monitoring.live_stream import NOW, LiveStream, follow, release_at
from tests.support import synthetic_data
from tests.support.records import rate, rows
from tests.training.runs import GOOD

from marquee.cli.main import main
from marquee.data.snapshot import SnapshotRequest
from marquee.db.pool import Database
from marquee.events.event import Rating
from marquee.events.json_records import JsonRecordParser
from marquee.events.parser import EventParser
from marquee.monitoring.drift_monitor import DriftMonitor
from marquee.monitoring.live_accuracy import update_accuracy
from marquee.registry.item_store import read_items
from marquee.registry.object_store.file_store import FileStore
from marquee.training.retrain import retrain

pytestmark = pytest.mark.servers
STARS = 10
ERRORS = "SELECT predicted, rating, low, high FROM predictions WHERE predicted IS NOT NULL"


@pytest.mark.parametrize(("scale", "low", "high"), [("0.5-5", 0.5, 5.0), ("0-10", 0.0, 10.0)])
def test_own_scale_is_served_recorded_and_evaluated_on_the_log(
    database: Database, stream: LiveStream, store: FileStore, tmp_path: Path, scale: str, low: float, high: float
) -> None:
    """The log's text and JSON take the ratings; predictions, intervals, live RMSE and drift are on the same scale."""
    given = synthetic_data.blocks()
    values = low + (given["value"] - 1) * (high - low) / 4
    table = given.assign(rating=values, time=given["time"] // synthetic_data.SECOND).drop(columns="value")
    table.to_csv(tmp_path / "mine.csv", index=False)
    base = tmp_path / "base"
    assert main(["data", "import", str(tmp_path / "mine.csv"), "--to", str(base), "--scale", scale]) == 0
    trained = retrain(SnapshotRequest(NOW - timedelta(days=9), base, 1.0, STARS), GOOD, store, releasing=False)
    assert trained.version is not None
    release_at(store, -1, control=trained.version)

    seen = set(zip(given["user_id"], given["movie_id"], strict=True))
    movies = sorted(set(given["movie_id"]) - {"bad+0000"})
    users = sorted(set(given["user_id"]))
    unseen = [(user, movie) for user in users for movie in movies if (user, movie) not in seen][:400]
    for number, (user, movie) in enumerate(unseen):
        stars = STARS if user[1] == movie[1] else 1
        stream.rate(number / 100, user, movie, stars)
    assert follow(database, store) == len(unseen)

    results = rows(database, ERRORS)
    errors = [float(predicted) - stars for predicted, stars, _, _ in results]
    rmse = math.sqrt(sum(error**2 for error in errors) / len(errors))
    assert rmse < 2, "the ratings of the log are on another scale than the predictions"
    assert all(1 <= bottom <= top <= STARS for *_, bottom, top in results if bottom is not None)
    assert max(float(predicted) for predicted, *_ in results) > 8
    update_accuracy(database, NOW - timedelta(days=2, hours=20))
    query = (
        "SELECT max(ratings), max(rmse) FROM live_accuracy WHERE arm = '' AND model_version = '' AND window_s = 86400"
    )
    ((counted, live),) = rows(database, query)
    assert (counted, live) == (len(results), pytest.approx(rmse))

    with database.transaction() as cursor:
        cursor.execute(
            'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
            " SELECT %s, 1, 1, n, n::text, 'b0+0000', CASE WHEN n < 2000 * %s THEN 10 ELSE 1 END"
            " FROM generate_series(0, 1999) AS n",
            (NOW - timedelta(hours=1), float((given["value"] == 5).mean())),
        )
    index = DriftMonitor().check(database, read_items(store, trained.version), NOW)[0]
    assert index.name == "drift.rating_psi"
    assert index.value == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("stars", [1, 7, 10])
def test_half_stars_are_whole_numbers_of_the_log(stars: int) -> None:
    """A service with half stars writes twice the stars, as text and as JSON; 3.5 itself and 11 are refused."""
    text, json = EventParser(UTC, STARS), JsonRecordParser(STARS)
    document = '{"id": "a", "time": "2026-11-30T12:00:02Z", "type": "rating", "user_id": "7", "movie_id": "up+2009"'
    for event in (text.parse(rate(7, stars)), json.parse(f'{document}, "rating": {stars}}}')):
        assert isinstance(event, Rating)
        assert event.rating == stars
    for wrong in ("3.5", "11", "0"):
        assert not isinstance(json.parse(f'{document}, "rating": {wrong}}}'), Rating)
        assert not isinstance(text.parse(rate(7, 1).replace("=1", f"={wrong}")), Rating)
