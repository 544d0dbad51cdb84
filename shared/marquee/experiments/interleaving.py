"""Interleaving of two rankings by team draft: a comparison within each list, for a first look.

The two rankings pick in turn, as captains pick players: Radlinski, Kurup and Joachims, *How Does Clickthrough Data
Reflect Retrieval Quality?*, CIKM 2008. A user sees movies of both at once, so that users do not have to be compared
with each other. The metric `preferred` is, by user, movies begun of the new team minus those of control's team, per
list; :func:`marquee.experiments.ratio_estimates.ratio` estimates it as one sample. The sign is sound, the size is not
that of an A/B test.

The serving path may import this module: it needs the standard library alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import TypeVar

M = TypeVar("M", bound=Hashable)

CONTROL, TREATMENT = 0, 1


def draft_teams(
    control: Sequence[M], treatment: Sequence[M], n: int, random: Callable[[], float]
) -> list[tuple[M, int]]:
    """Return up to ``n`` movies with the team that picked each: :data:`CONTROL` or :data:`TREATMENT`.

    The team with fewer picks is next; at a tie a toss decides. ``random`` yields uniform numbers in [0, 1); seeded with
    the recommendation's id, it makes the list reproducible.
    """
    rankings = (iter(control), iter(treatment))
    picks: dict[M, int] = {}
    sizes = [0, 0]
    while len(picks) < n:
        first = TREATMENT if sizes[0] > sizes[1] or (sizes[0] == sizes[1] and random() < 0.5) else CONTROL
        # A team whose ranking has ended leaves its turn to the other.
        for team in (first, 1 - first):
            pick = list(islice((movie for movie in rankings[team] if movie not in picks), 1))
            if pick:
                picks[pick[0]] = team
                sizes[team] += 1
                break
        else:
            break
    return list(picks.items())
