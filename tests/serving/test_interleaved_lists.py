"""Tests of interleaved lists: both arms in one list, teams in the impression, and every list made again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.serving.models import catalog_model, release_model, store_model
from tests.serving.test_list_replay import NONE, NOW, USERS, Service, assert_equal

from marquee.db.user_history import RatedMovie
from marquee.errors import ReleaseError
from marquee.events.batches import Impression
from marquee.experiments.declaration import parse_declaration
from marquee.experiments.lifecycle import start
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.policy import Pin, Policy
from marquee.registry.policy_rollout import set_policy
from marquee.registry.release import read_current_release
from marquee.registry.rollout import rollback
from marquee.serving.engine import Engine
from marquee.serving.exploration import NO_EXPLORATION
from marquee.serving.list_replay import Replayer
from marquee.serving.list_request import ListRequest
from marquee.serving.request_parameters import parse_list_request


def interleave(store: FileStore, arms: dict[str, Any] | None = None, share: float = 0.5) -> Service:
    """Release a model, interleave it with a later one of a smaller catalog, and return the service."""
    old = release_model(store, catalog_model())
    new = store_model(store, catalog_model(n_items=90, seed=2), NOW - timedelta(minutes=2))
    arms = arms or {"control": old, "new": new}
    start(store, parse_declaration("draft", {"kind": "interleaving", "arms": arms, "ladder": [share]}), author="test")
    return Service(store)


def read_teams(shown: Impression) -> str:
    assert shown.inputs
    return shown.inputs.teams


def test_answer_interleaved_list_has_movies_of_both_arms_and_is_made_again(store: FileStore) -> None:
    """Of every tier, with parameters, on the second page, and with ratings that only one of the models lacks."""
    service = interleave(store)
    service.histories["1002"] = NONE
    service.histories["1001"] = NONE.__class__((RatedMovie("film+3+1990", 5, NOW - timedelta(hours=3)),), ())
    shown = [service.show(user, ListRequest(n=n)) for user in USERS for n in (20, 7) for _ in range(3)]
    shown += [service.show_page(user, "n=10") for user in USERS]
    shown += [service.show(user, parse_list_request("diversity=0.5&max_age=12&explain=2")) for user in USERS]
    shown += [service.show(str(user), ListRequest()) for user in range(2_000, 2_030)]  # The salt is random.
    assert {one.arm for one in shown} == {"control", "new"}
    for one in shown:
        teams = read_teams(one)
        assert len(teams) == len(one.movies) == len({movie.movie_id for movie in one.movies})
        assert abs(teams.count("0") - teams.count("1")) <= 1
        assert {movie.propensity for movie in one.movies} == {0.0}
        assert not one.explored
    assert_equal(Replayer(store, NO_EXPLORATION), *shown)
    assert {len(read_teams(one)) > 0 for one in shown} == {True}


def test_answer_interleaved_list_drafts_the_lists_of_the_arms(store: FileStore) -> None:
    """Each movie stands in its team's own list at its rank, and its rating is that of the user's arm."""
    service = interleave(store)
    engines = [Engine.load(store, arm.version) for arm in read_current_release(store)[0].arms]
    known = engines[1].item_factors.items
    for shown in [service.show("unknown") for _ in range(5)]:
        for movie, team in zip(shown.movies, read_teams(shown), strict=True):
            own = engines[int(team)].recommend(_unknown_state(engines[int(team)]), 40)[1]
            assert own[movie.rank - 1].movie_id == movie.movie_id
            assert own[movie.rank - 1].score == pytest.approx(movie.score)
            assert (movie.rating is None) == (shown.arm == "new" and movie.movie_id not in known)


def _unknown_state(engine: Engine) -> Any:
    from marquee.serving.user_state import build_user_state

    return build_user_state(engine.item_factors, None, None)


def test_answer_outside_or_without_profile_is_not_interleaved(store: FileStore) -> None:
    """Users who take no part, and requests that forbid a profile, get the list of control."""
    service = interleave(store, share=0.05)
    release = read_current_release(store)[0]
    outside = next(str(n) for n in range(5_000, 6_000) if release.assign(str(n)).name == "outside")
    shown = service.show(outside)
    assert (shown.arm, read_teams(shown)) == ("outside", "")
    assert_equal(Replayer(store, NO_EXPLORATION), shown)
    assert service.recommender.answer("1000", NOW, ListRequest(profile=False)).teams == ""


def test_answer_arm_that_fails_falls_back_to_the_own_list(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of one model costs its team the list; users of the other arm get their arm's list, and all are replayed."""
    service = interleave(store)
    version = read_current_release(store)[0].arms[1].version
    make_list = Engine.make_list

    def fail(engine: Engine, *rest: Any) -> Any:
        if engine.version == version and rest[0].items.size:
            raise RuntimeError("a bug, in this test")
        return make_list(engine, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "make_list", fail)
        shown = [service.show(str(1000 + n)) for n in range(8)]
    assert all((one.tier == "last-resort") == (one.arm == "new") for one in shown)
    assert all("interleaving-failed" in one.notes and not read_teams(one) for one in shown)
    assert_equal(Replayer(store, NO_EXPLORATION), *shown)


def test_answer_interleaved_policies_of_one_model_are_compared(store: FileStore) -> None:
    """Arms differ in their policy alone; a movie that one policy hides is of the other team."""
    engine = Engine.load(store, release_model(store, catalog_model()))
    hidden = [movie.movie_id for movie in engine.recommend(_unknown_state(engine), 3)[1]]
    arms = {"control": "", "without": {"policy": {"unavailable": hidden}}}
    service = interleave(store, arms)
    shown = [service.show("unknown") for _ in range(10)]
    teams = {team for one in shown for m, team in zip(one.movies, read_teams(one), strict=True) if m.movie_id in hidden}
    assert teams == {"0"}
    assert_equal(Replayer(store, NO_EXPLORATION), *shown)


def test_start_interleaving_has_format_4_and_keeps_no_pins(store: FileStore) -> None:
    """Programs that cannot interleave refuse the release; pins and quotas would not hold, so they are refused."""
    interleave(store)
    release = read_current_release(store)[0]
    assert (release.format, release.interleaved, release.enrolled) == (4, True, 1.0)
    with pytest.raises(ReleaseError, match="keeps no pins"):
        set_policy(store, Policy(pins=(Pin("film+1+1990", 1),)), author="test")
    back = rollback(store, author="test")
    assert (back.format, back.interleaved) == (1, False)
    restored = rollback(store, author="test", to=release.number)
    assert (restored.format, restored.interleaved, restored.on_hold) == (4, True, True)
