"""Tests of top-n selection: n distinct unseen items, best first, as by sorting all items."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marquee.scoring.topk import top_n

# Few distinct values, so that most scores are tied.
scores_lists = st.lists(st.integers(-3, 3) | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, list[int], int]:
    scores = np.array(draw(scores_lists), dtype=np.float32)
    seen = draw(st.lists(st.integers(0, len(scores) - 1), max_size=2 * len(scores)))
    return scores, seen, draw(st.integers(1, 25))


def sort_all(scores: np.ndarray, n: int, seen: list[int]) -> list[int]:
    """Return the expected result: all unseen items sorted, then the seen ones, oldest first."""
    unseen = sorted(set(range(len(scores))) - set(seen), key=lambda item: (-scores[item], item))
    oldest = sorted(set(seen), key=lambda item: len(seen) - 1 - seen[::-1].index(item))
    return (unseen + oldest)[:n]


@given(cases())
def test_top_n_equals_sorting_all_items(case: tuple[np.ndarray, list[int], int]) -> None:
    """With many ties."""
    scores, seen, n = case
    assert sort_all(scores, n, seen) == top_n(scores, n, seen).tolist()


@given(cases())
def test_top_n_list_is_full_and_distinct(case: tuple[np.ndarray, list[int], int]) -> None:
    """As many as requested or as there are, unseen items first; the list does not shrink with a long history."""
    scores, seen, n = case
    items = top_n(scores, n, seen).tolist()
    unseen = len(scores) - len(set(seen))
    assert min(n, len(scores)) == len(items) == len(set(items))
    assert not set(items[:unseen]) & set(seen)


@given(cases())
def test_top_n_restores_the_scores(case: tuple[np.ndarray, list[int], int]) -> None:
    """The array that was masked during the call has its values back."""
    scores, seen, n = case
    before = scores.copy()
    top_n(scores, n, seen)
    assert before.tolist() == scores.tolist()


def test_top_n_ties_go_to_the_lower_row() -> None:
    """Also among the unseen rows only."""
    assert top_n(np.zeros(1_000, dtype=np.float32), 3).tolist() == [0, 1, 2]
    assert top_n(np.zeros(1_000, dtype=np.float32), 3, [1]).tolist() == [0, 2, 3]


def test_top_n_all_seen_returns_the_oldest_first() -> None:
    """Seen 2, 0, 1 and 2 again: 0 is the oldest now, 2 the newest."""
    assert top_n(np.array([1, 2, 3], dtype=np.float32), 3, [2, 0, 1, 2]).tolist() == [0, 1, 2]


def test_top_n_repeated_seen_item_counts_once() -> None:
    """Five entries for one item must not be taken for five items."""
    assert top_n(np.array([9, 1, 2], dtype=np.float32), 2, [0] * 5).tolist() == [2, 1]
