"""Tests of the past movies of a user: kept for a stored record, and read again after new events."""

from __future__ import annotations

import numpy as np
import pytest
from tests.serving.test_rules import NOW, get_state

from marquee.serving import engine
from marquee.serving.engine import Engine
from marquee.serving.explanations import explain_list
from marquee.serving.list_builder import ListContext
from marquee.serving.list_request import ListRequest
from marquee.serving.user_state import UserState, build_user_state


def test_find_past_of_a_record_is_kept(catalog_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same record has the same past movies; another user has others. Long histories would take too much memory."""
    first, again, other = (
        build_user_state(catalog_engine.item_factors, catalog_engine.find_record(user), None)
        for user in ("1001", "1001", "1002")
    )
    past = catalog_engine.find_past(first)
    assert catalog_engine.find_past(again) is past
    assert catalog_engine.find_past(other).columns[0].tolist() != past.columns[0].tolist()
    monkeypatch.setattr(engine, "_MAX_KEPT_HISTORY", len(first.items) - 1)
    assert catalog_engine.find_past(again) is not past


def test_find_past_after_a_new_event_has_the_new_movie(catalog_engine: Engine) -> None:
    """An event that the record lacks is among the reasons, although the record's movies are kept."""
    state = get_state(catalog_engine, 1)
    catalog_engine.find_past(state)
    new = next(row for row in range(len(catalog_engine.item_factors.movie_ids)) if row not in state.items)
    items = np.append(state.items, np.uint32(new))
    ratings, weights = np.append(state.ratings, np.float32(5)), np.append(state.weights, np.float32(50))
    later = UserState(items, ratings, weights, state.record, has_new_items=True, has_new_ratings=True)
    assert catalog_engine.find_past(later).columns[0, -1] == catalog_engine.item_factors.movie_ids[new]
    result = catalog_engine.make_list(later, ListRequest(), ListContext(now=NOW))
    named = {reason.movie_id for one in explain_list(catalog_engine, later, result, 1) for reason in one.because}
    assert catalog_engine.item_factors.movie_ids[new] in named


def test_find_past_of_unrated_movies_has_no_share_in_ratings(catalog_engine: Engine) -> None:
    """A movie that was only watched has a share of scores, and none of predicted ratings."""
    state = get_state(catalog_engine, 1)
    ratings = state.ratings.copy()
    ratings[0] = np.nan
    past = catalog_engine.find_past(UserState(state.items, ratings, state.weights))
    _, shares = catalog_engine.share_ratings(past, np.arange(5))
    assert not shares[:, 0].any()
    assert shares[:, 1:].any()
    assert past.columns[2, 0] is None
