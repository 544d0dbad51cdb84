"""Exploration: random movies in a list, each with its propensity.

An off-policy estimate of another ranker weights each outcome by the inverse propensity. The propensity must therefore
be logged, and positive for every movie that the other ranker would show: Bottou et al., *Counterfactual Reasoning and
Learning Systems*, 2013. There are two sources of randomness:

- Epsilon-greedy: a small fraction of the lists is drawn uniformly from all candidates. This supports estimates of
  any ranker, at a cost to few users.
- In the other lists the last slots are drawn from a few more candidates of the ranking. This compares movies of
  nearly equal rank at almost no cost.

Only candidates can be drawn: movies that remain after the user's history, the request's rules and the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from marquee.serving.list_request import LIST_LENGTH

if TYPE_CHECKING:
    from marquee.serving.candidates import Candidates


# A Struct, because creating a dataclass adds a millisecond to each start.
class Exploration(msgspec.Struct, frozen=True):
    """Exploration policy: a fraction ``epsilon`` of uniform lists, and ``slots`` random positions at the end of others.

    The slots are drawn from ``candidates`` movies, beginning with those that would be shown there. For example, 1 slot
    and 40 candidates in a list of 20 draw from ranks 20 to 59. The last ``new`` candidates are movies without ratings
    or views, if there are enough (:mod:`marquee.serving.new_movies`).
    """

    epsilon: float = 0.0
    slots: int = 0
    candidates: int = 0
    new: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.epsilon <= 1 and 0 <= self.slots <= self.candidates and 0 <= self.new <= self.candidates):
            raise ValueError(
                f"invalid exploration: epsilon {self.epsilon} must lie within 0 and 1, and slots {self.slots} and new "
                f"movies {self.new} within 0 and candidates {self.candidates}"
            )

    @property
    def extra_candidates(self) -> int:
        """Number of movies to rank beyond the end of the list."""
        return self.candidates - self.slots

    def scale(self, n: int) -> Exploration:
        """Return the exploration of a list of ``n`` movies. A list shorter than the default has fewer random slots.

        A list of at least half the default length keeps one slot.
        """
        if n >= LIST_LENGTH or not self.slots:
            return self
        slots = max(self.slots * n // LIST_LENGTH, int(2 * n >= LIST_LENGTH))
        candidates = self.candidates * slots // self.slots
        return Exploration(self.epsilon, slots, candidates, min(self.new, candidates))

    def choose(
        self, ranked: Sequence[int], n: int, candidates: Candidates, random: Callable[[], float]
    ) -> tuple[list[int], list[float], bool]:
        """Return the rows to show, the propensity of each in its position, and whether they were drawn uniformly.

        ``ranked`` holds up to ``n + extra_candidates`` rows, best first; rows that only fill up the list come last.
        With fewer than ``n`` candidates, the result is the ranking. ``random`` returns uniform numbers in [0, 1).
        """
        n_candidates = candidates.count
        if n_candidates < n or not n or not (self.epsilon or self.slots):
            shown = list(ranked[:n])
            return shown, [1.0] * len(shown), False
        n_fixed = max(n - self.slots, 0)
        pool = ranked[n_fixed : min(n_fixed + self.candidates, n_candidates)]
        p_uniform, p_fixed = self.epsilon / n_candidates, 1 - self.epsilon
        p_slot = p_fixed / len(pool) if pool else 0.0
        if random() >= self.epsilon:
            rows = [*ranked[:n_fixed], *_sample_from(random, list(pool), n - n_fixed)]
            return rows, [p_uniform + p_fixed] * n_fixed + [p_uniform + p_slot] * (n - n_fixed), False
        rows = _sample_rows(random, n, candidates.rows.tolist())
        # A uniform draw can put a movie in its ranked position, so both cases add to its propensity.
        fixed = [p_uniform + p_fixed * (row == best) for row, best in zip(rows, ranked[:n_fixed], strict=False)]
        return rows, fixed + [p_uniform + p_slot * (row in pool) for row in rows[n_fixed:]], True


NO_EXPLORATION = Exploration()
DEFAULT_EXPLORATION = Exploration(epsilon=0.001, slots=1, candidates=40, new=4)
"""Exploration of an arm whose policy sets nothing else."""


def limit_exploration(epsilon: float, slots: int, candidates: int, new: int) -> Exploration:
    """Return an exploration with at least one candidate for each slot, and none without slots."""
    candidates = max(candidates, slots) if slots else 0
    return Exploration(epsilon, slots, candidates, min(new, candidates))


def _sample_from(random: Callable[[], float], pool: list[int], count: int) -> list[int]:
    """Sample ``count`` of ``pool`` without replacement (Fisher-Yates)."""
    for position in range(count):
        other = position + int(random() * (len(pool) - position))
        pool[position], pool[other] = pool[other], pool[position]
    return pool[:count]


def _sample_rows(random: Callable[[], float], n: int, rows: Sequence[int]) -> list[int]:
    """Sample ``n`` distinct of ``rows``, uniformly over all ordered lists (Fisher-Yates on the swapped places)."""
    moved: dict[int, int] = {}
    drawn = []
    for position in range(n):
        other = position + int(random() * (len(rows) - position))
        drawn.append(rows[moved.get(other, other)])
        moved[other] = moved.get(position, position)
    return drawn
