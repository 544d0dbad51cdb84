"""Tests of write_impressions: each list is stored once, with all of its movies."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.support.records import MOVIE, rows

from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch, ImpressionMovie
from marquee.ingest.store import WriteCounts, write_impressions


def test_write_impressions_stores_each_impression_once(database: Database) -> None:
    """Every movie has its position, rating, score and propensity."""
    movies = (ImpressionMovie(MOVIE, 1.5, 4.25, 1.0), ImpressionMovie("m*a*s*h+1970", 0.5, None, 0.125))
    at = datetime(2026, 2, 14, 0, 9, tzinfo=UTC)
    shown = [Impression(f"id-{n}", at, "7", "blue", "v1", 3, "personalised", movies) for n in range(3)]
    assert write_impressions(database, ImpressionBatch("a", tuple(shown[:2]))) == WriteCounts(impressions=2)
    assert write_impressions(database, ImpressionBatch("b", tuple(shown))) == WriteCounts(impressions=1)
    query = "SELECT position, movie_id, score, rating, propensity, arm, tier FROM impression_movies "
    assert rows(database, query + "WHERE id = 'id-2' ORDER BY 1") == [
        (1, MOVIE, 1.5, 4.25, 1.0, "blue", "personalised"),
        (2, "m*a*s*h+1970", 0.5, None, 0.125, "blue", "personalised"),
    ]
    assert rows(database, "SELECT time, tier, impressions FROM impressions_per_minute") == [(at, "personalised", 3)]


def test_write_impressions_empty_batch_writes_nothing(database: Database) -> None:
    """A batch without impressions is valid."""
    assert write_impressions(database, ImpressionBatch("a", ())) == WriteCounts()
