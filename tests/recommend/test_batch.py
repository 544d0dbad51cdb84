"""Many users at once: the same lists as one at a time."""

from __future__ import annotations

import pytest
from tests.recommend.models import two_tastes, written

from marquee.artifacts.file import FileStore
from marquee.recommend import engine as engines
from marquee.recommend.batch import recommend_all
from marquee.recommend.engine import Engine, Tier
from marquee.recommend.profile import profile_of


@pytest.mark.parametrize("block", [1, 7, 256])
def test_the_same_lists_as_one_at_a_time(store: FileStore, block: int) -> None:
    """Known users and unknown ones, in the order that was asked for, whatever the block."""
    engine = Engine.load(store, written(store, two_tastes(n_users=20)))
    asked = [str(user) for user in range(1025, 990, -1)]
    found = list(recommend_all(engine, iter(asked), 10, block=block))
    assert [user_id for user_id, _, _ in found] == asked
    for user_id, tier, films in found:
        alone, expected = engine.recommend(profile_of(engine.side, engine.read_record(user_id), None), 10)
        assert (tier, [f.movie_id for f in films]) == (alone, [f.movie_id for f in expected])
        assert [f.rating for f in films] == pytest.approx([f.rating for f in expected])
    assert {tier for _, tier, _ in found} == {Tier.PERSONALISED, Tier.POPULAR}


def test_records_in_memory_are_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many users ask, the oldest are let go of."""
    monkeypatch.setattr(engines, "RECORDS_KEPT", 3)
    for user in range(1000, 1010):
        engine.read_record(str(user))
    assert [engine.known_record(str(user))[0] for user in range(1000, 1010)] == [False] * 7 + [True] * 3
