"""The made catalogue: ids without a table, one for one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.events.record_syntax import is_movie_id
from marquee.simulate.catalogue import MOST_MOVIES, SyntheticCatalogue, runtime
from marquee.simulate.hashed_rng import coprime, zipf_rank


@pytest.mark.parametrize("movies", [1, 500, 27_000])
def test_ids_are_distinct_and_lead_back(movies: int) -> None:
    """No two movies share an id, and each id gives its number again."""
    catalogue = SyntheticCatalogue(movies, seed=3)
    ids = [catalogue.movie_id(movie) for movie in range(movies)]
    assert len(set(ids)) == movies
    assert [catalogue.number(movie_id) for movie_id in ids] == list(range(movies))


@given(st.integers(0, MOST_MOVIES - 1), st.integers(0, 2**70))
def test_every_id_is_one_the_log_could_hold(movie: int, seed: int) -> None:
    catalogue = SyntheticCatalogue(MOST_MOVIES, seed)
    assert is_movie_id(catalogue.movie_id(movie))
    assert catalogue.number(catalogue.movie_id(movie)) == movie


def test_all_odd_forms_occur() -> None:
    """Every oddity of the real log's ids is in a catalogue of ordinary size."""
    catalogue = SyntheticCatalogue(2_000, seed=1)
    ids = " ".join(catalogue.movie_id(movie) for movie in range(2_000))
    odd = [r" \+[a-z]", r"[a-z]\* ?", r"(\w\*){3}", r"_\+", r"[a-z]\+\+[a-z]", r"[a-z]-[a-z]", r"\.\+"]
    odd += [r"[a-z]\+ ", r"(\+\d{4})\1 ", r"\*\+\d{4}"]
    assert [form for form in odd if not re.search(form, ids)] == []


@given(st.text("abcdefghij+*_.-0123456789", max_size=40))
def test_a_strange_id_is_no_movie(text: str) -> None:
    catalogue = SyntheticCatalogue(100, seed=1)
    number = catalogue.number(text)
    assert number is None or catalogue.movie_id(number) == text


def test_a_movie_beyond_the_catalogue_is_unknown() -> None:
    """A smaller catalogue of the same seed does not know the movies of a larger one that it lacks."""
    large, small = SyntheticCatalogue(10_000, seed=1), SyntheticCatalogue(10, seed=1)
    assert small.number(large.movie_id(9_999)) is None


def test_sizes_that_cannot_be() -> None:
    for movies in (0, MOST_MOVIES + 1):
        with pytest.raises(ValueError, match="it can have from 1 to"):
            SyntheticCatalogue(movies, seed=1)


def test_runtimes_are_those_of_movies() -> None:
    lengths = [runtime(f"film+{n}+1999", seed=1) for n in range(2_000)]
    assert (min(lengths) >= 60, max(lengths) <= 200) == (True, True)
    assert 108 < sum(lengths) / len(lengths) < 118


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 10**6), st.floats(0, 2), st.floats(0, 100))
def test_zipf_ranks_are_in_range(u: float, count: int, exponent: float, offset: float) -> None:
    assert 0 <= zipf_rank(u, count, exponent, offset) < count


def test_zipf_prefers_the_first() -> None:
    """The busiest tenth has more than a third of all draws, and every rank can come."""
    ranks = [zipf_rank(n / 10_000, 100, 1.0, 5) for n in range(10_000)]
    assert set(ranks) == set(range(100))
    assert sum(rank < 10 for rank in ranks) > 3_300


@given(st.integers(0, 2**64), st.integers(1, 10_000))
def test_coprime_shuffles(start: int, count: int) -> None:
    """Times the stride, modulo the count, no two places fall together."""
    stride = coprime(start, count)
    assert len({place * stride % count for place in range(count)}) == count
