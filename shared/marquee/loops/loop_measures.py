"""Measures of one simulated day, and their means over the last days of a run."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.evaluation.exposure import gini, total_exposure
from marquee.loops.loop_world import LENGTH, Floats, Ints, LoopWorld, examine

COVERAGE, GINI, TOP, QUALITY, NEW = "coverage", "gini", "top 1 %", "quality", "new movies"
DRIFT, ALIKE, BEGUN = "taste drift", "alikeness", "begun"
MEASURES = (QUALITY, COVERAGE, GINI, TOP, NEW, DRIFT, ALIKE, BEGUN)
_NEW_DAYS = 7
_LEAST = 0.1  # Expected movies begun from the best list, below which its quality is not defined.
LAST_DAYS = 10
"""Days at the end of a run whose mean is compared."""


class LoopRun(msgspec.Struct, frozen=True):
    """Measures of one variant and seed: by name, one value for each day; ``groups``: quality of each group of users."""

    variant: str
    seed: int
    days: dict[str, list[float]]
    groups: dict[str, list[float]]
    data: str = ""

    def at_end(self) -> dict[str, float]:
        """Return the mean of the last days of each measure, and of each group's quality."""
        groups = {f"{QUALITY}, {name}": values for name, values in self.groups.items()}
        return {name: float(np.nanmean(values[-LAST_DAYS:])) for name, values in (self.days | groups).items()}


def judge_lists(
    world: LoopWorld, tastes: Floats, users: Ints, lists: Ints, seen: NDArray[np.bool_], day: int
) -> tuple[dict[str, float], Floats]:
    """Return the measures of the lists [n, LENGTH] of ``users`` [n], and the quality of each list [n].

    - quality: expected movies begun from the list, divided by those from the best possible list of unseen movies,
      with the user's present taste
    - coverage: share of the released movies that at least one list has
    - gini, top 1 %: inequality of exposure over the released movies, and the exposure of the most exposed hundredth
    - new movies: exposure of movies of the last week, divided by their share of the released movies
    """
    looks, odds = examine(world.size), world.suit(tastes)
    is_released = world.released <= day
    possible = np.where(seen | ~is_released, 0.0, odds)[users]
    best = -np.sort(-possible, axis=1)[:, :LENGTH] @ looks
    # A seen movie that fills a list cannot be begun. Who has seen nearly all movies has no best list to compare with.
    gained = np.take_along_axis(possible, lists, 1) @ looks
    quality: Floats = np.where(best >= _LEAST, gained / np.maximum(best, _LEAST), np.nan)
    exposure = total_exposure(lists, world.size.movies)[is_released]
    n_top = max(1, round(len(exposure) / 100))
    is_new = (world.released > max(0, day - _NEW_DAYS))[is_released]
    share = exposure[is_new].sum() / exposure.sum()
    return {
        QUALITY: float(np.nanmean(quality)),
        COVERAGE: float((exposure > 0).mean()),
        GINI: gini(exposure),
        TOP: float(np.sort(exposure)[-n_top:].sum() / exposure.sum()),
        NEW: float(share / is_new.mean()) if is_new.any() else float("nan"),
    }, quality


def judge_tastes(first: Floats, tastes: Floats) -> dict[str, float]:
    """Return how far the tastes have moved, 1 - cosine, and how alike those of two users are on average, a cosine."""
    n = len(tastes)
    mean = tastes.sum(0)
    return {
        DRIFT: float(1 - np.einsum("ij,ij->i", first, tastes).mean()),
        ALIKE: float((mean @ mean - n) / (n * (n - 1))),
    }
