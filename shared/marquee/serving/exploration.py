"""What is left to chance in a list, and with which probability each movie came to its place.

Off-policy estimates ("how would another ranker have done?") weigh what happened by the inverse of that
probability, so that it must be known, and above 0 for whatever the other ranker would show: Bottou et al.,
*Counterfactual Reasoning and Learning Systems*, 2013. Two sources of chance:

- a small share of the answers is drawn uniformly from all movies that the user has not seen: support for
  any ranker, at a cost to few;
- in the other answers the last places are drawn from a somewhat longer stretch of the ranking: many
  comparisons of movies that are nearly as good, at hardly any cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from random import Random

import msgspec


# A dataclass takes a millisecond of each start to make.
class Exploration(msgspec.Struct, frozen=True, eq=False):
    """``epsilon`` of the answers are uniform; in the others the last ``slots`` positions come from ``candidates`` movies.

    The pool begins with the movies that would be in those places: tail 3 and pool 9 of 20 draws the last
    three from ranks 18 to 26. Safe to share between threads.
    """

    epsilon: float = 0.0
    slots: int = 0
    candidates: int = 0
    rng: Random = msgspec.field(default_factory=Random)

    def __post_init__(self) -> None:
        if not (0 <= self.epsilon <= 1 and 0 <= self.slots <= self.candidates):
            raise ValueError(
                f"epsilon {self.epsilon}, slots {self.slots} and candidates {self.candidates} are no exploration: "
                "epsilon lies within 0 and 1, slots within candidates"
            )

    @property
    def longer(self) -> int:
        """How many movies beyond the list's end have to be ranked."""
        return self.candidates - self.slots

    def choose(
        self, ranked: Sequence[int], n: int, seen: Set[int], n_items: int
    ) -> tuple[list[int], list[float], bool]:
        """The rows to show, the probability that each had of being in its place, and whether they are uniform.

        ``ranked``: rows, best first, ``n + longer`` of them if there are so many; those of ``seen``, rows of
        ``n_items``, come last. Who has not ``n`` unseen movies left gets them as they are ranked.
        """
        n = min(n, n_items)
        eligible = n_items - len(seen)
        if eligible < n or not (self.epsilon or self.slots):
            return list(ranked[:n]), [1.0] * n, False
        head = max(n - self.slots, 0)
        pool = ranked[head : min(head + self.candidates, eligible)]
        by_chance, in_head = self.epsilon / eligible, 1 - self.epsilon
        in_tail = in_head / len(pool) if pool else 0.0
        if self.rng.random() >= self.epsilon:
            rows = [*ranked[:head], *_drawn(self.rng.random, list(pool), n - head)]
            return rows, [by_chance + in_head] * head + [by_chance + in_tail] * (n - head), False
        rows = _uniform(self.rng.random, n, seen, n_items)
        # Chance may have put a movie where it would have been anyway: both ways count.
        first = [by_chance + in_head * (row == best) for row, best in zip(rows, ranked[:head], strict=False)]
        return rows, first + [by_chance + in_tail * (row in pool) for row in rows[head:]], True


NONE = Exploration()


def _drawn(random: Callable[[], float], pool: list[int], count: int) -> list[int]:
    """The first ``count`` of a shuffle. ``Random.sample`` does the same and takes four times as long."""
    for place in range(count):
        other = place + int(random() * (len(pool) - place))
        pool[place], pool[other] = pool[other], pool[place]
    return pool[:count]


def _uniform(random: Callable[[], float], n: int, seen: Set[int], n_items: int) -> list[int]:
    """``n`` distinct rows outside ``seen``, each list of them as likely as any other."""
    drawn: dict[int, None] = {}
    while len(drawn) < n:
        row = int(random() * n_items)
        if row not in seen:
            drawn[row] = None
    return list(drawn)
