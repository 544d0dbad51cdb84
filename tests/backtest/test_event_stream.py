"""Tests of the stream: the training data of a cut hold nothing of later events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from marquee.backtest.backtest_plan import BacktestPlan, ServedModel, make_blocks
from marquee.backtest.event_stream import EventStream
from marquee.data.dataset import Interactions
from marquee.errors import TooFewRatings

MODELS = (ServedModel("bpmf", "ease"),)
MINUTE = 60_000_000


def test_dataset_before_holds_the_earlier_events_only(stream: EventStream) -> None:
    """With their users and movies, and the listed movie that no one has rated."""
    train = stream.dataset_before(100, ["film+30+1990", "film+0+1990"])
    assert len(train.ratings) == 100
    assert train.ratings.times.max() < stream.times[100]
    pairs = {
        (train.user_ids[u], train.movie_ids[i], v)
        for u, i, v in zip(train.ratings.users, train.ratings.items, train.ratings.values, strict=True)
    }
    ids = stream.dataset
    assert pairs == {
        (ids.user_ids[stream.users[row]], ids.movie_ids[stream.items[row]], stream.values[row]) for row in range(100)
    }
    assert set(train.user_ids) == {ids.user_ids[user] for user in stream.users[:100]}
    assert "film+0+1990" in train.movie_ids
    assert len(train.item_features[0]) == len(train.movie_ids)


def test_dataset_before_leaves_out_later_watch_sessions(stream: EventStream) -> None:
    """A session is an event of its own: relevant after 20 minutes, and never a rating."""
    times = stream.times[[10, 500]] + 1
    watched = Interactions(np.array([0, 1], np.int32), np.array([2, 3], np.int32), np.array([90.0, 3.0]), times)
    merged = EventStream.from_dataset(replace(stream.dataset, watch_sessions=watched))
    assert len(merged) == len(stream) + 2
    assert merged.is_relevant[~merged.is_rating].tolist() == [True, False]
    assert len(merged.dataset_before(300).watch_sessions) == 1


def test_count_known_ratings_equals_a_plain_count(stream: EventStream) -> None:
    """For each event, the earlier ratings of the same user."""
    expected = [int((stream.users[:row] == stream.users[row]).sum()) for row in range(len(stream))]
    assert stream.count_known_ratings().tolist() == expected


def test_movie_age_counts_from_the_first_event(stream: EventStream) -> None:
    """One event a minute: the age is the distance to the movie's first event."""
    first = np.argmax(stream.items == stream.items[400])
    assert stream.movie_age_days()[400] == pytest.approx((400 - first) / 1440)


def test_make_blocks_by_number_covers_every_event_once(stream: EventStream) -> None:
    """Each event from the first cut to the end, and late predictions until the longest delay after the next cut."""
    plan = BacktestPlan(models=MODELS, cuts=4, begin=0.2, delays=(timedelta(minutes=30),))
    blocks = make_blocks(plan, stream)
    assert [(block.first, block.last) for block in blocks] == [(120, 240), (240, 360), (360, 480), (480, 600)]
    assert [block.late - block.last for block in blocks] == [30, 30, 30, 0]


def test_make_blocks_by_duration_cuts_at_equal_times(stream: EventStream) -> None:
    """One event a minute, a cut each hour."""
    plan = BacktestPlan(models=MODELS, every=timedelta(hours=1), begin=0.5)
    assert [block.first for block in make_blocks(plan, stream)] == [300, 360, 420, 480, 540]


def test_make_blocks_nothing_to_train_on_is_refused(stream: EventStream) -> None:
    """The message says what to change."""
    for begin, end in ((0.0, 1.0), (0.5, 0.5)):
        with pytest.raises(TooFewRatings, match="choose a later --from"):
            make_blocks(BacktestPlan(models=MODELS, begin=begin, end=end), stream)
