"""Tests of the recommender of a fixed release, as notebooks use it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.serving.models import TRAINED_THROUGH, flip_last_bit, get_group, make_movie_id, release_model

from marquee.errors import NothingToRecommend, ReleaseError
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.policy import Policy
from marquee.registry.release import publish_release, read_current_release
from marquee.serving.fixed_release import WrittenHistories
from marquee.serving.list_request import ListRequest
from marquee.serving.recommender import Recommender

NOW = TRAINED_THROUGH + timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A store with two releases; the second hides movie 0."""
    store = FileStore(tmp_path)
    release_model(store)
    arm = read_current_release(store)[0].arms[0]
    hiding = replace(arm, policy=Policy(unavailable=(make_movie_id(0),)))
    publish_release(store, lambda last: replace(last, arms=(hiding,)) if last else pytest.fail("no release"))
    return store


def test_recommender_load_explains_a_written_history(store: FileStore) -> None:
    """The list follows from the ratings that the caller wrote, with their movies as reasons."""
    histories = WrittenHistories()
    histories.set("me", {make_movie_id(3): 5}, watched=[make_movie_id(5)], time=NOW)
    recommender = Recommender.load(f"file://{store.root}", history=histories)
    answer = recommender.answer("me", NOW, ListRequest(n=5, explain=2))
    assert answer.tier == "folded-in"
    assert {get_group(movie.movie_id) for movie in answer.movies} == {1}
    assert {reason.movie_id for reason in answer.explanations[0].because} == {make_movie_id(3), make_movie_id(5)}
    assert recommender.answer("stranger", NOW).tier == "popular"


def test_recommender_load_takes_any_release_and_arm(store: FileStore) -> None:
    """Release 1 shows the movie that release 2 hides; later releases change neither."""
    url = f"file://{store.root}"
    old, new = Recommender.load(url, release=1), Recommender.load(url, arm="control")
    release_model(store, through=NOW)
    shown = [{movie.movie_id for movie in r.answer("stranger", NOW).movies} for r in (old, new)]
    assert [make_movie_id(0) in movies for movies in shown] == [True, False]
    with pytest.raises(ReleaseError, match="there is no release 99"):
        Recommender.load(url, release=99)
    with pytest.raises(ReleaseError, match="no arm 'none'; it has control"):
        Recommender.load(url, arm="none")


def test_recommender_load_damaged_artifact_is_refused(tmp_path: Path) -> None:
    """As in serving, with the reason."""
    store = FileStore(tmp_path)
    version = release_model(store)
    file = next(path.name for path in tmp_path.rglob(f"{version}/*") if path.name.startswith("rank"))
    flip_last_bit(store, version, file)
    with pytest.raises(NothingToRecommend, match="release 1 is refused"):
        Recommender.load(f"file://{tmp_path}")
