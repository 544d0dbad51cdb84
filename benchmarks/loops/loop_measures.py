"""Measures of one simulated day, and their means over the last days of a run."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.loops.loop_world import LENGTH, Floats, Ints, LoopWorld, examine
from marquee.evaluation.exposure import gini, share_of_top, total_exposure

COVERAGE, GINI, TOP, QUALITY, NEW = "coverage", "gini", "top 1 %", "quality", "new movies"
DRIFT, ALIKE, BEGUN = "taste drift", "alikeness", "begun"
MEASURES = (QUALITY, COVERAGE, GINI, TOP, NEW, DRIFT, ALIKE, BEGUN)
_NEW_DAYS = 7
_LEAST = 0.1  # Expected movies begun from the best possible list; below it, quality is undefined.
LAST_DAYS = 10
"""Number of days at the end of a run over which measures are averaged for a comparison."""


class LoopRun(msgspec.Struct, frozen=True):
    """Daily values of each measure for one variant and seed; ``groups`` holds the quality for each group of users."""

    variant: str
    seed: int
    days: dict[str, list[float]]
    groups: dict[str, list[float]]
    data: str = ""

    def at_end(self) -> dict[str, float]:
        """Return the mean over the last days of each measure and of the quality for each group."""
        groups = {f"{QUALITY}, {name}": values for name, values in self.groups.items()}
        return {name: float(np.nanmean(values[-LAST_DAYS:])) for name, values in (self.days | groups).items()}


def judge_lists(
    world: LoopWorld, tastes: Floats, users: Ints, lists: Ints, seen: NDArray[np.bool_], day: int
) -> tuple[dict[str, float], Floats]:
    """Return the measures of the lists [n, LENGTH] of ``users`` [n], and the quality of each list [n].

    - quality: expected number of movies begun from the list, divided by that of the best possible list of unseen
      movies under the user's current taste
    - coverage: share of the released movies that are in at least one list
    - gini: Gini coefficient of exposure over the released movies
    - top 1 %: share of exposure of the most exposed 1 % of the released movies
    - new movies: share of exposure of movies released in the last week, divided by their share of the released movies
    """
    looks, odds = examine(world.size), world.suit(tastes)
    is_released = world.released <= day
    possible = np.where(seen | ~is_released, 0.0, odds)[users]
    best = -np.sort(-possible, axis=1)[:, :LENGTH] @ looks
    # Seen movies that fill up a list cannot be begun. For a user who has seen nearly everything, quality is undefined.
    gained = np.take_along_axis(possible, lists, 1) @ looks
    quality: Floats = np.where(best >= _LEAST, gained / np.maximum(best, _LEAST), np.nan)
    exposure = total_exposure(lists, world.size.movies)[is_released]
    is_new = (world.released > max(0, day - _NEW_DAYS))[is_released]
    share = exposure[is_new].sum() / exposure.sum()
    return {
        QUALITY: float(np.nanmean(quality)),
        COVERAGE: float((exposure > 0).mean()),
        GINI: gini(exposure),
        TOP: share_of_top(exposure),
        NEW: float(share / is_new.mean()) if is_new.any() else float("nan"),
    }, quality


def judge_tastes(first: Floats, tastes: Floats) -> dict[str, float]:
    """Return the drift of tastes and their similarity between users; both arguments are [users, 8].

    The drift is 1 minus the mean cosine between first and current taste. The similarity is the mean cosine between two
    users.
    """
    n = len(tastes)
    mean = tastes.sum(0)
    return {
        DRIFT: float(1 - np.einsum("ij,ij->i", first, tastes).mean()),
        ALIKE: float((mean @ mean - n) / (n * (n - 1))),
    }
