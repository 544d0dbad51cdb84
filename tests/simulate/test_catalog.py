"""The synthetic catalog: distinct, reversible ids without a table."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.events.record_syntax import is_movie_id
from marquee.simulate.catalog import MAX_MOVIES, SyntheticCatalog, runtime_minutes
from marquee.simulate.hashed_rng import coprime_stride, zipf_rank


@pytest.mark.parametrize("movies", [1, 500, 27_000])
def test_movie_id_all_movies_are_distinct_and_reversible(movies: int) -> None:
    """No two movies share an id, and each id maps back to its number."""
    catalog = SyntheticCatalog(movies, seed=3)
    ids = [catalog.movie_id(movie) for movie in range(movies)]
    assert len(set(ids)) == movies
    assert [catalog.movie_number(movie_id) for movie_id in ids] == list(range(movies))


@given(st.integers(0, MAX_MOVIES - 1), st.integers(0, 2**70))
def test_movie_id_any_movie_is_valid_in_the_event_log(movie: int, seed: int) -> None:
    """The parser of the event log accepts every id, for any seed."""
    catalog = SyntheticCatalog(MAX_MOVIES, seed)
    assert is_movie_id(catalog.movie_id(movie))
    assert catalog.movie_number(catalog.movie_id(movie)) == movie


def test_movie_id_ordinary_catalog_has_all_irregular_forms() -> None:
    """A catalog of 2,000 movies has every irregularity of the real event log's ids."""
    catalog = SyntheticCatalog(2_000, seed=1)
    ids = " ".join(catalog.movie_id(movie) for movie in range(2_000))
    forms = [r" \+[a-z]", r"[a-z]\* ?", r"(\w\*){3}", r"_\+", r"[a-z]\+\+[a-z]", r"[a-z]-[a-z]", r"\.\+"]
    forms += [r"[a-z]\+ ", r"(\+\d{4})\1 ", r"\*\+\d{4}"]
    assert [form for form in forms if not re.search(form, ids)] == []


@given(st.text("abcdefghij+*_.-0123456789", max_size=40))
def test_movie_number_arbitrary_text_is_unknown_unless_an_id(text: str) -> None:
    """A number is returned only for the exact id of that movie."""
    catalog = SyntheticCatalog(100, seed=1)
    number = catalog.movie_number(text)
    assert number is None or catalog.movie_id(number) == text


def test_movie_number_movie_beyond_catalog_is_unknown() -> None:
    """A smaller catalog of the same seed does not have the additional movies of a larger one."""
    large, small = SyntheticCatalog(10_000, seed=1), SyntheticCatalog(10, seed=1)
    assert small.movie_number(large.movie_id(9_999)) is None


@pytest.mark.parametrize("movies", [0, MAX_MOVIES + 1])
def test_catalog_impossible_size_is_refused(movies: int) -> None:
    """The error names the valid range."""
    with pytest.raises(ValueError, match="must be from 1 to"):
        SyntheticCatalog(movies, seed=1)


def test_runtime_minutes_many_movies_are_plausible() -> None:
    """Runtimes lie between 60 and 200 minutes with a mean of about 113."""
    minutes = [runtime_minutes(f"film+{n}+1999", seed=1) for n in range(2_000)]
    assert (min(minutes) >= 60, max(minutes) <= 200) == (True, True)
    assert 108 < sum(minutes) / len(minutes) < 118


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 10**6), st.floats(0, 2), st.floats(0, 100))
def test_zipf_rank_any_parameters_is_in_range(u: float, count: int, exponent: float, offset: float) -> None:
    """A rank is never negative and never ``count`` or more."""
    assert 0 <= zipf_rank(u, count, exponent, offset) < count


def test_zipf_rank_first_tenth_gets_more_than_a_third() -> None:
    """The first tenth of the ranks gets more than a third of all draws, and every rank occurs."""
    ranks = [zipf_rank(n / 10_000, 100, 1.0, 5) for n in range(10_000)]
    assert set(ranks) == set(range(100))
    assert sum(rank < 10 for rank in ranks) > 3_300


@given(st.integers(0, 2**64), st.integers(1, 10_000))
def test_coprime_stride_any_count_is_a_permutation(start: int, count: int) -> None:
    """Multiplication by the stride, modulo the count, maps no two numbers to the same one."""
    stride = coprime_stride(start, count)
    assert len({number * stride % count for number in range(count)}) == count
