"""New movies in a list: some candidates of the random slots are movies that no one has rated or watched.

They are ranked by their metadata, through the factors that training gives them. They take the last places from which
the slots are drawn, so that the number of candidates and every propensity stay as they are, and their rank is the
one that is logged. With 1 slot, 40 candidates and 4 new movies, one list in ten shows a new movie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from marquee.serving.candidates import Candidates
from marquee.serving.exploration import Exploration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from marquee.serving.rankings import MovieRanking


def find_new(popularity: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Return which movies have no interactions [n_items], None if all have some."""
    is_new = popularity == 0
    return is_new if is_new.any() and not is_new.all() else None


def promote_new(
    ranked: Sequence[int],
    n: int,
    ranking: MovieRanking,
    candidates: Candidates,
    is_new: NDArray[np.bool_],
    exploration: Exploration,
) -> list[int]:
    """Return ``ranked`` with the best new movies in the last places that the random slots of ``n`` are drawn from.

    A new movie that its score puts before these places keeps its rank.
    """
    end = max(n - exploration.slots, 0) + exploration.candidates
    if not (exploration.slots and exploration.new) or len(ranked) < end or candidates.count < end:
        return list(ranked)
    head = list(ranked[: end - exploration.new])
    best = ranking.top(exploration.new, candidates.within(is_new).without(head))
    rest = [row for row in ranked[len(head) :] if row not in best]
    return [*head, *rest[: exploration.new - len(best)], *best, *rest[exploration.new - len(best) :]][: len(ranked)]
