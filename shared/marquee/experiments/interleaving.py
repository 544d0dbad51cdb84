"""Interleaving of two rankings by team draft: a comparison within each list, for a first look.

The two rankings pick in turn, as captains pick players: Radlinski, Kurup and Joachims, *How Does Clickthrough Data
Reflect Retrieval Quality?*, CIKM 2008. Each user sees movies of both rankings, so that users
are compared with themselves. The metric `preferred` is the number of movies begun of the treatment's team minus that of
control's team, per list; :func:`marquee.experiments.ratio_estimates.ratio` estimates it as one sample. Its sign is
reliable, but its size is not comparable with that of an A/B test.

The serving path may import this module, which depends on the standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

M = TypeVar("M", bound=Hashable)

CONTROL, TREATMENT = 0, 1


def draft_teams(
    control: Sequence[M], treatment: Sequence[M], n: int, random: Callable[[], float]
) -> list[tuple[M, int]]:
    """Return up to ``n`` movies with the team that picked each: :data:`CONTROL` or :data:`TREATMENT`.

    The team with fewer picks is next; a tie is broken at random. ``random`` returns uniform numbers in [0, 1).
    Seeded with the recommendation id, it makes the list reproducible.
    """
    rankings, places, sizes = (control, treatment), [0, 0], [0, 0]
    picks: dict[M, int] = {}
    while len(picks) < n:
        first = TREATMENT if sizes[0] > sizes[1] or (sizes[0] == sizes[1] and random() < 0.5) else CONTROL
        # A team with an exhausted ranking passes its turn to the other.
        for team in (first, 1 - first):
            ranking, at = rankings[team], places[team]
            while at < len(ranking) and ranking[at] in picks:
                at += 1
            places[team] = at
            if at < len(ranking):
                picks[ranking[at]] = team
                sizes[team] += 1
                break
        else:
            break
    return list(picks.items())
