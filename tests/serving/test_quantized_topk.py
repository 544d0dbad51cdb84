"""Tests of the quantized top-k search: the same list as by scoring every item."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.models import store_model, two_group_model

from marquee.registry.object_store.file_store import FileStore
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.quantized_topk import QuantizedTopK, build_quantized_topk, score_items
from marquee.scoring.topk import top_n
from marquee.serving.engine import Engine
from marquee.serving.exploration import Exploration
from marquee.serving.list_builder import ListContext
from marquee.serving.list_request import PLAIN
from marquee.serving.user_state import build_user_state

NO_ITEMS = np.empty(0, np.uint32)
N = 5


def make_isotropic(rng: np.random.Generator, movies: int, r: int) -> np.ndarray:
    """Return vectors without a preferred direction: the hardest case for pruning."""
    return rng.standard_normal((movies, r), dtype=np.float32)


def make_uneven(rng: np.random.Generator, movies: int, r: int) -> np.ndarray:
    """Return vectors of very different lengths, with factors of very different sizes."""
    lengths = rng.pareto(1.5, (movies, 1)) + 1e-3
    return (make_isotropic(rng, movies, r) * lengths * 0.5 ** np.arange(r)).astype(np.float32)


def make_tied(rng: np.random.Generator, movies: int, r: int) -> np.ndarray:
    """Return vectors of small whole numbers, so that many scores are equal."""
    return rng.integers(-2, 3, (movies, r)).astype(np.float32)


def build_index(vectors: np.ndarray) -> QuantizedTopK:
    """Return an index whatever the number of vectors."""
    index = build_quantized_topk(vectors, min_size=0)
    assert index
    return index


def search_all(vectors: np.ndarray, query: np.ndarray, n: int, seen: np.ndarray) -> list[int]:
    """Return the best rows by scoring every item."""
    rows: list[int] = top_n(score_items(vectors, np.arange(len(vectors)), query), n, seen).tolist()
    return rows


@settings(deadline=None)
@given(
    st.sampled_from([make_isotropic, make_uneven, make_tied]),
    st.integers(0, 2**32),
    st.integers(700, 3_000),
    st.integers(1, 100),
    st.integers(0, 60),
    st.sampled_from([1e-12, 1.0, 1e10]),
)
def test_search_result_equals_scoring_all_items(
    make_vectors: Callable[[np.random.Generator, int, int], np.ndarray],
    seed: int,
    movies: int,
    r: int,
    watched: int,
    size: float,
) -> None:
    """In the same order, ties by row, without seen items; or None."""
    rng = np.random.default_rng(seed)
    vectors, seen = make_vectors(rng, movies, r), rng.integers(0, movies, watched).astype(np.uint32)
    query = make_vectors(rng, movies, r)[0] * np.float32(size)
    best = build_index(vectors).search(query, N, seen)
    if best is not None:
        assert best[0].tolist() == search_all(vectors, query, N, seen)


@pytest.mark.parametrize("r", [32, 100])
def test_search_isotropic_vectors_prunes_enough(r: int) -> None:
    """The result is not None even in the hardest case."""
    vectors = make_isotropic(np.random.default_rng(1), 27_000, r)
    index = build_index(vectors)
    for query in make_isotropic(np.random.default_rng(2), 20, r):
        best = index.search(query, N, NO_ITEMS)
        assert best is not None
        assert best[0].tolist() == search_all(vectors, query, N, NO_ITEMS)


def test_search_largest_products_fit_into_16_bits() -> None:
    """The longest vector and a query in its direction, or the opposite one."""
    vectors = make_isotropic(np.random.default_rng(3), 1_000, 32)
    vectors[617] *= 5
    for sign in (1, -1):
        best = build_index(vectors).search(sign * vectors[617], N, NO_ITEMS)
        assert best is not None
        assert (best[0].tolist()[0] == 617) is (sign == 1)
        assert best[0].tolist() == search_all(vectors, sign * vectors[617], N, NO_ITEMS)


def test_search_equal_vectors_returns_none() -> None:
    """Nothing can be pruned."""
    vectors = np.ones((1_000, 32), np.float32)
    assert build_index(vectors).search(vectors[0], N, NO_ITEMS) is None


def test_search_degenerate_query_or_few_unseen_items_returns_none() -> None:
    """A query of zeros, of extreme length, or fewer than ``n`` unseen items."""
    index = build_index(make_isotropic(np.random.default_rng(4), 1_000, 32))
    assert index.search(np.zeros(32, np.float32), N, NO_ITEMS) is None
    for uncommon in (1e-30, 1e30, np.inf):
        assert index.search(np.full(32, uncommon, np.float32), N, NO_ITEMS) is None
    assert index.search(np.ones(32, np.float32), N, np.arange(996, dtype=np.uint32)) is None


def test_build_small_or_extreme_vectors_returns_none() -> None:
    """Small catalogs, and lengths that float32 cannot represent."""
    assert build_quantized_topk(np.ones((100, 32), np.float32)) is None
    for no_length in (0.0, 1e30):
        assert build_quantized_topk(np.full((27_000, 32), no_length, np.float32)) is None


def test_search_from_several_threads_returns_the_same() -> None:
    """Eight threads share one index."""
    rng = np.random.default_rng(5)
    vectors, queries = make_isotropic(rng, 27_000, 32), make_isotropic(rng, 200, 32)
    index = build_index(vectors)
    with ThreadPoolExecutor(8) as threads:
        lists = list(threads.map(lambda query: index.search(query, N, NO_ITEMS), queries))
    for query, best in zip(queries, lists, strict=True):
        assert best is not None
        assert best[0].tolist() == search_all(vectors, query, N, NO_ITEMS)


def make_large_model() -> TrainedModel:
    """Return a model with enough movies for an index; each user has seen two."""
    rng, movies, r = np.random.default_rng(6), 10_000, 32
    return replace(
        two_group_model(movies),
        rank_items=make_isotropic(rng, movies, r),
        rank_history=make_isotropic(rng, movies, r),
    )


@pytest.mark.parametrize("slots", [(0.0, 0, 0), (0.0, 3, 9), (1.0, 0, 0)])
def test_engine_with_index_returns_the_same_movies_as_without(store: FileStore, slots: tuple[float, int, int]) -> None:
    """Movies, order and propensities are equal with equal seeds; scores are equal up to float32 rounding."""
    version = store_model(store, make_large_model())
    plain, prepared = Engine.load(store, version), Engine.load(store, version)
    prepared.prepare()
    assert prepared.topk_index
    assert not plain.topk_index
    for user in range(1000, 1006):
        state = build_user_state(plain.item_factors, plain.read_record(str(user)), None)
        result, expected = (
            engine.make_list(state, PLAIN, ListContext(Exploration(*slots), Random(user).random))
            for engine in (prepared, plain)
        )
        assert result.explored is expected.explored
        for movie, other in zip(result.movies, expected.movies, strict=True):
            assert (movie.movie_id, movie.rating, movie.propensity) == (
                other.movie_id,
                other.rating,
                other.propensity,
            )
            assert movie.score == pytest.approx(other.score, rel=1e-5, abs=1e-5)
