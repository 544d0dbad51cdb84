"""Live accuracy, first half: of each rating that came in, what had been predicted of it (``predictions``).

The tables are the state. A partition is followed from the newest rating that was looked at, less ``LATE``: what
lies there and has no row yet is what is left to do, lines that came in late among it. A run that is killed has
written whole pages, and the next one goes on; a row that is there is never written again.

The partitions take turns, a page each, the one that is furthest behind first: so a long backlog of one does not keep
the others waiting, however short the time of a run.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from marquee.db.pool import Database
from marquee.db.user_history import RatedMovie
from marquee.monitoring.served_prediction import LiveRating, Prediction, Predictor, ShownPrediction

PAGE = 500
EARLIER_RATINGS = 50_000
"""The most ratings that are read to make the users' profiles of one page; the newest come first."""
LATE = timedelta(hours=2)
"""A rating that comes in so much later than its partition's newest is not looked at any more."""
BACKFILL = timedelta(days=7)
"""How far back the first run begins, if there was a release by then."""
SETTLE = timedelta(seconds=10)
"""A rating is taken up so long after its time: lines come in a little out of order, and impressions a little late."""
SHOWN_WITHIN = timedelta(days=7)
"""A list that is older than this predicts nothing any more: the user has changed since."""

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

_EARLIER = """
SELECT user_id, movie_id, rating, time FROM ratings WHERE user_id = ANY(%s) AND time < %s
ORDER BY time DESC, topic_key DESC, partition DESC, "offset" DESC LIMIT %s"""

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
ON CONFLICT DO NOTHING"""  # noqa: S608  # Names of ours alone.


@dataclass
class FollowResult:
    """What one run did. ``behind``: its time was over before it had come to the newest rating of each partition."""

    ratings: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    behind: bool = False


class LivePredictions:
    """Follows the ratings, a page at a time. Not to be shared between threads."""

    def __init__(
        self, predictor: Predictor, *, page: int = PAGE, budget_s: float = 120.0, deadline_ms: int = 30_000
    ) -> None:
        self._predictor = predictor
        self._page = page
        self._budget_s = budget_s
        self._deadline_ms = deadline_ms

    def follow(self, database: Database, now: datetime) -> FollowResult:
        """Take up what came in since; raises the database's and the store's errors, and may be called again."""
        self._predictor.refresh()
        done = FollowResult()
        first = self._predictor.first_release
        if first is None:
            return done  # Nothing could be predicted, and nothing will be: there is nobody who might have.
        ends = time.monotonic() + self._budget_s
        waiting = deque(
            (topic_key, partition, (since, -1))
            for topic_key, partition, since in self._cursors(database, max(first, now - BACKFILL))
        )
        while waiting:
            if time.monotonic() > ends:
                done.behind = True
                break
            topic_key, partition, place = waiting.popleft()
            page = self._read(database, topic_key, partition, place, now - SETTLE)
            if page:
                self._evaluate(database, page, done)
            if len(page) == self._page:  # A shorter one is the last.
                waiting.append((topic_key, partition, (page[-1].time, page[-1].offset)))
        return done

    def _cursors(self, database: Database, first: datetime) -> list[tuple[int, int, datetime]]:
        parameters = {"late": LATE, "first": first}
        return [
            (topic_key, partition, since)
            for topic_key, partition, since in database.read(
                _CURSORS, parameters, deadline_ms=self._deadline_ms
            )
        ]

    def _read(
        self, database: Database, topic_key: int, partition: int, place: tuple[datetime, int], until: datetime
    ) -> list[LiveRating]:
        since, offset = place
        parameters = {
            "topic_key": topic_key,
            "partition": partition,
            "since": since,
            "offset": offset,
            "until": until,
            "page": self._page,
        }
        return [LiveRating(*row) for row in database.read(_PAGE, parameters, deadline_ms=self._deadline_ms)]

    def _evaluate(self, database: Database, page: Sequence[LiveRating], done: FollowResult) -> None:
        earlier, shown = self._earlier(database, page), self._shown(database, page)
        self._predictor.warm(page)
        predictions = [
            self._predictor.predict(rated, earlier[rated.user_id], shown.get(n))
            for n, rated in enumerate(page)
        ]
        self._write(database, page, predictions)
        done.ratings += len(page)
        done.reasons.update(p.reason for p in predictions if p.reason)

    def _earlier(self, database: Database, page: Sequence[LiveRating]) -> defaultdict[str, list[RatedMovie]]:
        """What the page's users rated before the end of the page, newest first."""
        users = list({rated.user_id for rated in page})
        found: defaultdict[str, list[RatedMovie]] = defaultdict(list)
        for user_id, movie_id, rating, at in database.read(
            _EARLIER, (users, page[-1].time, EARLIER_RATINGS), deadline_ms=self._deadline_ms
        ):
            found[user_id].append(RatedMovie(movie_id, rating, at))
        return found

    def _shown(self, database: Database, page: Sequence[LiveRating]) -> dict[int, ShownPrediction]:
        """The newest list before each rating that showed the user the movie and rated it, by the rating's place."""
        parameters = {
            "n": list(range(len(page))),
            "user": [rated.user_id for rated in page],
            "movie": [rated.movie_id for rated in page],
            "time": [rated.time for rated in page],
            "within": SHOWN_WITHIN,
        }
        rows = database.read(_SHOWN, parameters, deadline_ms=self._deadline_ms)
        return {n: ShownPrediction(*shown) for n, *shown in rows}

    def _write(
        self, database: Database, page: Sequence[LiveRating], predictions: Sequence[Prediction]
    ) -> None:
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
