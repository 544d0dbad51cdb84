"""Prequential evaluation, prediction step: the prediction made before each new rating, in table ``predictions``.

Prequential evaluation (Dawid, 1984) predicts each observation before it is learned from. The error is computed from
this table by :mod:`marquee.monitoring.live_accuracy`.

The tables are the only state. Each partition is read from its newest evaluated rating less ``LATE``. Ratings there
without a row are to be evaluated, late ones included. A run that is killed has written whole pages, the next run
continues, and a row is never overwritten.

Partitions take turns of one page each, starting with the one furthest behind. A long backlog of one partition does not
delay the others, however short a run is.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from marquee.db.past_history import ratings_before
from marquee.db.pool import Database
from marquee.monitoring.served_prediction import LiveRating, Prediction, Predictor, ShownPrediction

PAGE = 500
LATE = timedelta(hours=2)
"""A rating that arrives later than this after its partition's newest one is not evaluated."""
BACKFILL = timedelta(days=7)
"""Start of the first run before now, if a release existed by then."""
SETTLE = timedelta(seconds=10)
"""Delay before a rating is evaluated. Records arrive slightly out of order, and impressions slightly late."""
MAX_IMPRESSION_AGE = timedelta(days=7)
"""An older recommendation does not count as a prediction, because the user has changed since."""

_CURSORS = """
SELECT p.topic_key, p.partition, coalesce(
    (SELECT time FROM predictions AS done WHERE done.topic_key = p.topic_key AND done.partition = p.partition
     ORDER BY "offset" DESC LIMIT 1) - %(late)s, %(first)s)
FROM written_offsets AS p ORDER BY 3, 1, 2"""

_PAGE = """
SELECT time, topic_key, partition, "offset", user_id, movie_id, rating FROM ratings AS r
WHERE topic_key = %(topic_key)s AND partition = %(partition)s
  AND (time, "offset") > (%(since)s, %(offset)s) AND time >= %(since)s AND time < %(until)s
  AND NOT EXISTS (SELECT FROM predictions AS p WHERE p.topic_key = r.topic_key AND p.partition = r.partition
                  AND p."offset" = r."offset" AND p.time = r.time)
ORDER BY time, "offset" LIMIT %(page)s"""

_SHOWN = """
SELECT r.n, i.id, i.time, i.arm, i.model_version, i.release, i.tier, i.rating
FROM unnest(%(n)s::int[], %(user)s::text[], %(movie)s::text[], %(time)s::timestamptz[])
     AS r (n, user_id, movie_id, time)
CROSS JOIN LATERAL (
    SELECT id, i.time, arm, model_version, release, tier,
           (jsonb_path_query_first(movies, '$[*] ? (@.movie_id == $movie).rating',
                                   jsonb_build_object('movie', r.movie_id)) #>> '{}')::float8 AS rating
    FROM impressions AS i
    WHERE i.user_id = r.user_id AND i.time < r.time AND i.time >= r.time - %(within)s
      AND movies @> jsonb_build_array(jsonb_build_object('movie_id', r.movie_id))
    ORDER BY i.time DESC LIMIT 1
) AS i
WHERE i.rating IS NOT NULL"""

_COLUMNS = {
    "time": "timestamptz",
    "topic_key": "int",
    "partition": "int",
    '"offset"': "bigint",
    "user_id": "text",
    "movie_id": "text",
    "rating": "smallint",
    "arm": "text",
    "model_version": "text",
    "release": "int",
    "tier": "text",
    "source": "text",
    "impression": "text",
    "predicted": "float8",
    "low": "float8",
    "high": "float8",
    "coverage": "float8",
    "reason": "text",
}
_WRITE = f"""
INSERT INTO predictions ({", ".join(_COLUMNS)})
SELECT * FROM unnest({", ".join(f"%s::{kind}[]" for kind in _COLUMNS.values())})
ON CONFLICT DO NOTHING"""  # noqa: S608  # Constant names only.


@dataclass
class FollowResult:
    """Result of one run. ``is_behind`` is true if the time budget ended before the newest ratings were reached."""

    ratings: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    is_behind: bool = False


class LivePredictions:
    """Evaluator of new ratings, a page at a time. Not safe to share between threads."""

    def __init__(
        self, predictor: Predictor, *, page: int = PAGE, budget_s: float = 120.0, deadline_ms: int = 30_000
    ) -> None:
        self._predictor = predictor
        self._page = page
        self._budget_s = budget_s
        self._deadline_ms = deadline_ms

    def follow(self, database: Database, now: datetime) -> FollowResult:
        """Write a prediction for each new rating. Idempotent.

        Raises the errors of the database and the object store.
        """
        self._predictor.refresh()
        result = FollowResult()
        first = self._predictor.history.first
        if first is None:
            return result  # Ratings before the first release are never evaluated.
        ends = time.monotonic() + self._budget_s
        waiting = deque(
            (topic_key, partition, (since, -1))
            for topic_key, partition, since in database.read(
                _CURSORS, {"late": LATE, "first": max(first, now - BACKFILL)}, deadline_ms=self._deadline_ms
            )
        )
        while waiting:
            if time.monotonic() > ends:
                result.is_behind = True
                break
            topic_key, partition, position = waiting.popleft()
            page = self._read_page(database, topic_key, partition, position, now - SETTLE)
            if page:
                self._evaluate(database, page, result)
            if len(page) == self._page:  # A shorter page is the last one.
                waiting.append((topic_key, partition, (page[-1].time, page[-1].offset)))
        return result

    def _read_page(
        self,
        database: Database,
        topic_key: int,
        partition: int,
        position: tuple[datetime, int],
        until: datetime,
    ) -> list[LiveRating]:
        since, offset = position
        parameters = {
            "topic_key": topic_key,
            "partition": partition,
            "since": since,
            "offset": offset,
            "until": until,
            "page": self._page,
        }
        return [LiveRating(*row) for row in database.read(_PAGE, parameters, deadline_ms=self._deadline_ms)]

    def _evaluate(self, database: Database, page: Sequence[LiveRating], result: FollowResult) -> None:
        users = {event.user_id for event in page}
        earlier = ratings_before(database, users, page[-1].time, self._deadline_ms)
        shown = self._read_shown(database, page)
        self._predictor.warm(page)
        predictions = [
            self._predictor.predict(event, earlier[event.user_id], shown.get(n)) for n, event in enumerate(page)
        ]
        self._write(database, page, predictions)
        result.ratings += len(page)
        result.reasons.update(p.reason for p in predictions if p.reason)

    def _read_shown(self, database: Database, page: Sequence[LiveRating]) -> dict[int, ShownPrediction]:
        """Return the newest earlier impression with the user and the movie, by index in ``page``."""
        parameters = {
            "n": list(range(len(page))),
            "user": [event.user_id for event in page],
            "movie": [event.movie_id for event in page],
            "time": [event.time for event in page],
            "within": MAX_IMPRESSION_AGE,
        }
        rows = database.read(_SHOWN, parameters, deadline_ms=self._deadline_ms)
        return {n: ShownPrediction(*shown) for n, *shown in rows}

    def _write(self, database: Database, page: Sequence[LiveRating], predictions: Sequence[Prediction]) -> None:
        rows = [
            (
                r.time, r.topic_key, r.partition, r.offset, r.user_id, r.movie_id, r.rating,
                p.arm, p.version, p.release, p.tier, p.source, p.impression, p.predicted, p.low, p.high, p.coverage,
                p.reason,
            )
            for r, p in zip(page, predictions, strict=True)
        ]  # fmt: skip
        with database.transaction() as cursor:
            cursor.execute(_WRITE, [list(column) for column in zip(*rows, strict=True)])
