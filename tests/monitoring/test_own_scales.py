"""Half stars and ratings of 0 to 10 as the service sends them: import, events, intervals, panels, accuracy, drift."""

from __future__ import annotations

import json
import math
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from dashboards.data_quality import RATINGS
from tests.monitoring.live_stream import NOW, at, follow, release_at
from tests.support import synthetic_data
from tests.support.records import batch, rows
from tests.training.runs import GOOD

from marquee.cli.main import main
from marquee.data.snapshot import SnapshotRequest
from marquee.db.pool import Database
from marquee.db.rating_steps import set_rating_step
from marquee.events.json_records import JsonRecordParser
from marquee.events.log_scale import LogScale
from marquee.ingest.store import write_batch
from marquee.monitoring.drift_monitor import DriftMonitor
from marquee.monitoring.live_accuracy import update_accuracy
from marquee.privacy.personal_tables import export_rows
from marquee.registry.item_store import read_items
from marquee.registry.object_store.file_store import FileStore
from marquee.training.retrain import retrain

pytestmark = pytest.mark.servers
ERRORS = "SELECT predicted, rating * rating_step(), low, high FROM predictions WHERE predicted IS NOT NULL"
ACCURACY = (
    "SELECT max(ratings), max(rmse) FROM live_accuracy WHERE arm = '' AND model_version = '' AND window_s = 86400"
)


def rating_event(number: int, user: str, movie: str, rating: float, time: datetime) -> str:
    """Return the JSON record of a rating."""
    event = {"id": f"e{number}", "type": "rating", "time": time.isoformat(), "user_id": user, "movie_id": movie}
    return json.dumps(event | {"rating": rating})


@pytest.mark.parametrize("name", ["0.5-5", "0-10"])
def test_own_scale_is_served_recorded_and_evaluated_as_it_is_sent(
    database_url: str, store: FileStore, tmp_path: Path, name: str
) -> None:
    """Ratings of the log keep their scale in predictions, intervals, live RMSE, panels, export and drift."""
    low, high = map(float, name.split("-"))
    scale = LogScale(low, high)
    set_rating_step(database_url, scale.step)
    given = synthetic_data.blocks()
    values = low + (given["value"] - 1) * (high - low) / 4
    table = given.assign(rating=values, time=given["time"] // synthetic_data.SECOND).drop(columns="value")
    table.to_csv(tmp_path / "mine.csv", index=False)
    base = tmp_path / "base"
    assert main(["data", "import", str(tmp_path / "mine.csv"), "--to", str(base), "--scale", name]) == 0
    request = SnapshotRequest(NOW - timedelta(days=9), base, 1.0, high, rating_min=low)
    trained = retrain(request, GOOD, store, releasing=False)
    assert trained.version is not None
    release_at(store, -1, control=trained.version)

    with closing(Database(database_url)) as database:
        seen = set(zip(given["user_id"], given["movie_id"], strict=True))
        movies = sorted(set(given["movie_id"]) - {"bad+0000"})
        users = sorted(set(given["user_id"]))
        unseen = [(user, movie) for user in users for movie in movies if (user, movie) not in seen][:400]
        sent = [
            rating_event(number, user, movie, high - scale.step if user[1] == movie[1] else low, at(number / 100))
            for number, (user, movie) in enumerate(unseen)
        ]
        assert write_batch(database, batch(sent), JsonRecordParser(LogScale(low, high)))["ratings"] == len(sent)
        assert follow(database, store) == len(unseen)

        results = rows(database, ERRORS)
        errors = [float(predicted) - stars for predicted, stars, _, _ in results]
        assert {stars for _, stars, _, _ in results} == {low, high - scale.step}
        rmse = math.sqrt(sum(error**2 for error in errors) / len(errors))
        assert rmse < (high - low) / 4, "the ratings of the log are on another scale than the predictions"
        assert all(low <= bottom <= top <= high for *_, bottom, top in results if bottom is not None)
        assert max(float(predicted) for predicted, *_ in results) > low + 0.75 * (high - low)
        update_accuracy(database, NOW - timedelta(days=2, hours=20))
        ((counted, live),) = rows(database, ACCURACY)
        assert (counted, live) == (len(results), pytest.approx(rmse))

        shown = rows(database, RATINGS.sql.replace("$__timeFilter(time)", "true"))
        assert [float(rating) for rating, _ in shown] == [low, high - scale.step]
        exported = export_rows(database, [unseen[0][0]])
        assert {row["rating"] for row in exported["ratings"] + exported["predictions"]} <= {low, high - scale.step}

        top = float((given["value"] == 5).mean())
        with database.transaction() as cursor:
            cursor.execute(
                'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)'
                " SELECT %s, 1, 1, n, n::text, 'b0+0000', (CASE WHEN n < 2000 * %s THEN %s ELSE %s END) / rating_step()"
                " FROM generate_series(0, 1999) AS n",
                (NOW - timedelta(hours=1), top, high, low),
            )
        index = DriftMonitor().check(database, read_items(store, trained.version), NOW)[0]
        assert index.name == "drift.rating_psi"
        assert index.value == pytest.approx(0, abs=0.01)
