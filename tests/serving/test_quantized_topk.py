"""The shortlist: the same list as by looking at every movie."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.models import two_tastes, written

from marquee.registry.object_store.file_store import FileStore
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.quantized_topk import QuantizedTopK, build_quantized_topk, score_items
from marquee.scoring.topk import top_n
from marquee.serving.engine import Engine
from marquee.serving.exploration import Exploration
from marquee.serving.user_state import build_user_state

NOBODY = np.empty(0, np.uint32)
N = 5


def alike(rng: np.random.Generator, movies: int, r: int) -> np.ndarray:
    """No direction is better than another: the least that can be told beforehand."""
    return rng.standard_normal((movies, r), dtype=np.float32)


def uneven(rng: np.random.Generator, movies: int, r: int) -> np.ndarray:
    """A few movies far longer than the rest, and factors of very different sizes."""
    lengths = rng.pareto(1.5, (movies, 1)) + 1e-3
    return (alike(rng, movies, r) * lengths * 0.5 ** np.arange(r)).astype(np.float32)


def tied(rng: np.random.Generator, movies: int, r: int) -> np.ndarray:
    """Whole numbers, so that many movies have the very same score."""
    return rng.integers(-2, 3, (movies, r)).astype(np.float32)


def shortlisted(vectors: np.ndarray) -> QuantizedTopK:
    found = build_quantized_topk(vectors, min_size=0)
    assert found
    return found


def among_all(vectors: np.ndarray, taste: np.ndarray, n: int, seen: np.ndarray) -> list[int]:
    rows: list[int] = top_n(score_items(vectors, np.arange(len(vectors)), taste), n, seen).tolist()
    return rows


@settings(deadline=None)
@given(
    st.sampled_from([alike, uneven, tied]),
    st.integers(0, 2**32),
    st.integers(700, 3_000),
    st.integers(1, 100),
    st.integers(0, 60),
    st.sampled_from([1e-12, 1.0, 1e10]),
)
def test_the_best_are_those_of_all_movies(
    made: Callable[[np.random.Generator, int, int], np.ndarray],
    seed: int,
    movies: int,
    r: int,
    watched: int,
    size: float,
) -> None:
    """In the same order, equals by their rows, and none that was seen; or it says that it cannot tell."""
    rng = np.random.default_rng(seed)
    vectors, seen = made(rng, movies, r), rng.integers(0, movies, watched).astype(np.uint32)
    taste = made(rng, movies, r)[0] * np.float32(size)
    best = shortlisted(vectors).search(taste, N, seen)
    if best is not None:
        assert best[0].tolist() == among_all(vectors, taste, N, seen)


@pytest.mark.parametrize("r", [32, 100])
def test_a_shortlist_is_short_even_where_no_direction_is_better_than_another(r: int) -> None:
    vectors = alike(np.random.default_rng(1), 27_000, r)
    found = shortlisted(vectors)
    for taste in alike(np.random.default_rng(2), 20, r):
        best = found.search(taste, N, NOBODY)
        assert best is not None
        assert best[0].tolist() == among_all(vectors, taste, N, NOBODY)


def test_the_longest_movie_and_a_taste_just_like_it_stay_within_16_bits() -> None:
    vectors = alike(np.random.default_rng(3), 1_000, 32)
    vectors[617] *= 5
    for sign in (1, -1):
        best = shortlisted(vectors).search(sign * vectors[617], N, NOBODY)
        assert best is not None
        assert (best[0].tolist()[0] == 617) is (sign == 1)
        assert best[0].tolist() == among_all(vectors, sign * vectors[617], N, NOBODY)


def test_where_hardly_a_movie_differs_from_another_all_have_to_be_looked_at() -> None:
    vectors = np.ones((1_000, 32), np.float32)
    assert shortlisted(vectors).search(vectors[0], N, NOBODY) is None


def test_who_says_nothing_or_has_seen_nearly_all_has_no_shortlist() -> None:
    found = shortlisted(alike(np.random.default_rng(4), 1_000, 32))
    assert found.search(np.zeros(32, np.float32), N, NOBODY) is None
    for uncommon in (1e-30, 1e30, np.inf):
        assert found.search(np.full(32, uncommon, np.float32), N, NOBODY) is None
    assert found.search(np.ones(32, np.float32), N, np.arange(996, dtype=np.uint32)) is None


def test_there_is_none_where_it_would_save_nothing() -> None:
    assert build_quantized_topk(np.ones((100, 32), np.float32)) is None
    for no_length in (0.0, 1e30):
        assert build_quantized_topk(np.full((27_000, 32), no_length, np.float32)) is None


def test_threads_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(5)
    vectors, tastes = alike(rng, 27_000, 32), alike(rng, 200, 32)
    found = shortlisted(vectors)
    with ThreadPoolExecutor(8) as threads:
        lists = list(threads.map(lambda taste: found.search(taste, N, NOBODY), tastes))
    for taste, best in zip(tastes, lists, strict=True):
        assert best is not None
        assert best[0].tolist() == among_all(vectors, taste, N, NOBODY)


def large() -> TrainedModel:
    """Enough movies for a shortlist; each user has seen two."""
    rng, movies, r = np.random.default_rng(6), 10_000, 32
    return replace(two_tastes(movies), rank_items=alike(rng, movies, r), rank_history=alike(rng, movies, r))


@pytest.mark.parametrize("slots", [(0.0, 0, 0), (0.0, 3, 9), (1.0, 0, 0)])
def test_engine_with_index_returns_the_same_movies_as_without(
    store: FileStore, slots: tuple[float, int, int]
) -> None:
    """Movies, order and propensities are equal with equal seeds; scores are equal up to float32 rounding."""
    version = written(store, large())
    plain, prepared = Engine.load(store, version), Engine.load(store, version)
    prepared.prepare()
    assert prepared.topk_index
    assert not plain.topk_index
    for user in range(1000, 1006):
        state = build_user_state(plain.item_factors, plain.read_record(str(user)), None)
        (_, movies, uniform), (_, expected, expected_uniform) = (
            engine.explore(state, 20, Exploration(*slots, Random(user))) for engine in (prepared, plain)
        )
        assert uniform is expected_uniform
        for movie, other in zip(movies, expected, strict=True):
            assert (movie.movie_id, movie.rating, movie.propensity) == (
                other.movie_id,
                other.rating,
                other.propensity,
            )
            assert movie.score == pytest.approx(other.score, rel=1e-5, abs=1e-5)
