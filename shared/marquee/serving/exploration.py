"""Exploration: random movies in a list, each with its propensity.

An off-policy estimate of another ranker weights each outcome by the inverse propensity. The propensity must therefore
be logged, and positive for every movie that the other ranker would show: Bottou et al., *Counterfactual Reasoning and
Learning Systems*, 2013. There are two sources of randomness:

- Epsilon-greedy: a small fraction of the lists is drawn uniformly from all unseen movies. This supports estimates of
  any ranker, at a cost to few users.
- In the other lists the last slots are drawn from a few more candidates of the ranking. This compares movies of
  nearly equal rank at almost no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from random import Random

import msgspec


# A Struct, because creating a dataclass adds a millisecond to each start.
class Exploration(msgspec.Struct, frozen=True, eq=False):
    """Draws a fraction ``epsilon`` of the lists uniformly, and the last ``slots`` positions of the others.

    The slots are filled from ``candidates`` movies, beginning with those that would be shown there. For example, 3
    slots and 9 candidates in a list of 20 draw from ranks 18 to 26. Safe to share between threads.
    """

    epsilon: float = 0.0
    slots: int = 0
    candidates: int = 0
    rng: Random = msgspec.field(default_factory=Random)

    def __post_init__(self) -> None:
        if not (0 <= self.epsilon <= 1 and 0 <= self.slots <= self.candidates):
            raise ValueError(
                f"invalid exploration: epsilon {self.epsilon} must lie within 0 and 1, and slots {self.slots} "
                f"within 0 and candidates {self.candidates}"
            )

    @property
    def extra_candidates(self) -> int:
        """Number of movies to rank beyond the end of the list."""
        return self.candidates - self.slots

    def choose(
        self, ranked: Sequence[int], n: int, seen: Set[int], n_items: int
    ) -> tuple[list[int], list[float], bool]:
        """Return the rows to show, the propensity of each in its position, and whether they were drawn uniformly.

        ``ranked`` holds up to ``n + extra_candidates`` rows of ``n_items``, best first, with those of ``seen`` last.
        If fewer than ``n`` rows are unseen, the result is the ranking.
        """
        n = min(n, n_items)
        n_unseen = n_items - len(seen)
        if n_unseen < n or not (self.epsilon or self.slots):
            return list(ranked[:n]), [1.0] * n, False
        n_fixed = max(n - self.slots, 0)
        pool = ranked[n_fixed : min(n_fixed + self.candidates, n_unseen)]
        p_uniform, p_fixed = self.epsilon / n_unseen, 1 - self.epsilon
        p_slot = p_fixed / len(pool) if pool else 0.0
        if self.rng.random() >= self.epsilon:
            rows = [*ranked[:n_fixed], *_sample_from(self.rng.random, list(pool), n - n_fixed)]
            return rows, [p_uniform + p_fixed] * n_fixed + [p_uniform + p_slot] * (n - n_fixed), False
        rows = _sample_unseen(self.rng.random, n, seen, n_items)
        # A uniform draw may put a movie where the ranking has it: both ways add to its propensity.
        fixed = [p_uniform + p_fixed * (row == best) for row, best in zip(rows, ranked[:n_fixed], strict=False)]
        return rows, fixed + [p_uniform + p_slot * (row in pool) for row in rows[n_fixed:]], True


NO_EXPLORATION = Exploration()


def _sample_from(random: Callable[[], float], pool: list[int], count: int) -> list[int]:
    """Sample ``count`` of ``pool`` without replacement (Fisher-Yates); ``Random.sample`` takes four times as long."""
    for position in range(count):
        other = position + int(random() * (len(pool) - position))
        pool[position], pool[other] = pool[other], pool[position]
    return pool[:count]


def _sample_unseen(random: Callable[[], float], n: int, seen: Set[int], n_items: int) -> list[int]:
    """Sample ``n`` distinct rows outside ``seen``, uniformly over all ordered lists (rejection sampling)."""
    rows: dict[int, None] = {}
    while len(rows) < n:
        row = int(random() * n_items)
        if row not in seen:
            rows[row] = None
    return list(rows)
