"""Rankings of the movies for one user: by the history, or by scores of all movies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from marquee.scoring.quantized_topk import QuantizedTopK, score_items
from marquee.scoring.topk import top_n
from marquee.serving.candidates import Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"

_DIRECT_FRACTION = 8
"""Ratio of movies to candidates from which scoring only the candidates is as fast as the index."""


class MovieRanking(Protocol):
    """Order of the movies for one user; ties go to the lower row."""

    def top(self, n: int, candidates: Candidates) -> list[int]:
        """Return the ``n`` best candidates, best first; fewer if there are fewer."""
        ...

    def scores_of(self, rows: list[int]) -> list[float]:
        """Return the scores of ``rows``."""
        ...

    def scores(self) -> Floats:
        """Return the score of every movie, [n_items], to be read only."""
        ...


class ScoreRanking:
    """Order by ``scores`` [n_items]; ``order`` has all rows, best first, if it is known."""

    def __init__(self, scores: Floats, order: NDArray[np.intp] | None = None) -> None:
        self._scores = scores
        self._order = order

    def top(self, n: int, candidates: Candidates) -> list[int]:
        """Return the ``n`` best candidates, best first; fewer if there are fewer."""
        n = min(n, candidates.count)
        if self._order is None:
            masked = np.where(candidates.as_flags(), self._scores, np.float32(-np.inf))
            return _to_list(top_n(masked, n))
        if candidates.flags is None and not len(candidates.seen):
            return _to_list(self._order[:n])
        return _to_list(self._order[candidates.as_flags()[self._order]][:n])

    def scores_of(self, rows: list[int]) -> list[float]:
        """Return the scores of ``rows``."""
        scores: list[float] = self._scores[rows].tolist()
        return scores

    def scores(self) -> Floats:
        """Return the score of every movie, [n_items]."""
        return self._scores


def _to_list(rows: NDArray[np.intp]) -> list[int]:
    plain: list[int] = rows.tolist()
    return plain


class HistoryRanking:
    """Order by the product of ``vectors`` [n_items, r] with a user's ``query`` [r]; ``index`` is over ``vectors``."""

    def __init__(self, vectors: Floats, query: Floats, index: QuantizedTopK | None) -> None:
        self._vectors, self.query, self._index = vectors, query, index
        self._known: dict[int, float] = {}
        self._scores: Floats | None = None

    def top(self, n: int, candidates: Candidates) -> list[int]:
        """Return the ``n`` best candidates, best first; fewer if there are fewer."""
        n = min(n, candidates.count)
        if candidates.flags is not None and candidates.count * _DIRECT_FRACTION <= candidates.n_items:
            scores = score_items(self._vectors, candidates.rows, self.query)
            order = (-scores).argsort(kind="stable")[:n]
            return self._remember(candidates.rows[order], scores[order])
        if self._index is not None:
            best = self._index.search(self.query, n, candidates.seen, candidates.flags)
            if best is not None:
                return self._remember(*best)
        scores = self.scores()
        if candidates.flags is None:
            return _to_list(top_n(scores, n, candidates.seen))
        return _to_list(top_n(np.where(candidates.flags, scores, np.float32(-np.inf)), n))

    def _remember(self, rows: NDArray[np.intp], scores: Floats) -> list[int]:
        ranked: list[int] = rows.tolist()
        self._known.update(zip(ranked, scores.tolist(), strict=True))
        return ranked

    def scores_of(self, rows: list[int]) -> list[float]:
        """Return the scores of ``rows``."""
        scores: list[float]
        if self._scores is None:
            try:
                return [self._known[row] for row in rows]
            except KeyError:  # The movie was drawn at random, or fills up the list.
                scores = score_items(self._vectors, np.array(rows, np.intp), self.query).tolist()
                return scores
        scores = self._scores[rows].tolist()
        return scores

    def scores(self) -> Floats:
        """Return the score of every movie, [n_items]."""
        if self._scores is None:
            self._scores = self._vectors @ self.query
        return self._scores
