"""New movies in a list: movies without ratings or views among the candidates of the random slots.

They are ranked by the factors that training derives from their metadata. They replace the last candidates of the slots,
so that the number of candidates and all propensities are unchanged; the rank after the replacement is logged. With 1
slot, 40 candidates and 4 new movies, one list in ten shows a new movie.
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
    """Return the mask of movies without interactions, [n_items]; None if all movies have some."""
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
    """Return ``ranked`` with the best new movies as the last candidates of the random slots of a list of ``n``.

    A new movie that already ranks before these places keeps its rank. ``is_new`` is [n_items].
    """
    end = max(n - exploration.slots, 0) + exploration.candidates
    if not (exploration.slots and exploration.new) or len(ranked) < end or candidates.count < end:
        return list(ranked)
    head = list(ranked[: end - exploration.new])
    best = ranking.top(exploration.new, candidates.within(is_new).without(head))
    rest = [row for row in ranked[len(head) :] if row not in best]
    return [*head, *rest[: exploration.new - len(best)], *best, *rest[exploration.new - len(best) :]][: len(ranked)]
