"""The monitor's live prediction has the drift of the user's level, as the answer has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.monitoring.live_stream import at, release_at
from tests.serving.models import make_movie_id, store_model, two_group_model

from marquee.db.user_history import History, RatedMovie
from marquee.monitoring.served_prediction import LiveRating, Predictor
from marquee.registry.object_store.file_store import FileStore
from marquee.scoring.level_drift import Drift
from marquee.serving.engine import Engine
from marquee.serving.user_state import build_user_state


def test_predict_live_rating_equals_the_served_prediction(store: FileStore) -> None:
    """For a new user whose level falls, and one whose level rises by the same ratings."""
    model = replace(two_group_model(), drift=Drift(0.3, 0.9))
    release_at(store, 0, control=(version := store_model(store, model)))
    predictor, engine, predictions = Predictor(store), Engine.load(store, version), []
    predictor.refresh()
    for ratings in ((1, 1, 5, 5), (5, 5, 1, 1)):
        newest_first = tuple(
            RatedMovie(make_movie_id(2 * n), rating, at(2) - timedelta(minutes=n)) for n, rating in enumerate(ratings)
        )
        event = LiveRating(at(3), 1, 0, 0, "77", make_movie_id(20), 3)
        predicted = predictor.predict(event, newest_first, None).predicted
        state = build_user_state(engine.item_factors, None, History(newest_first, ()))
        assert predicted is not None
        assert predicted == pytest.approx(engine.predict(state, [20])[0])
        predictions.append(predicted)
    assert predictions[0] < predictions[1] - 0.05
