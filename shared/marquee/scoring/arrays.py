"""The arrays of an artifact's item side: their shapes, and what makes them sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from marquee.errors import ArtifactRefused

if TYPE_CHECKING:  # To import it costs an instance's start 2 ms.
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"


def no_cohorts() -> Floats:
    """The scores of no cohort at all."""
    return np.empty((0, 0), np.float32)


def item_shapes(n_items: int, k: int, r: int) -> dict[str, tuple[int, ...]]:
    """The arrays of the item side and the shape of each."""
    return {
        "item_biases": (n_items,),
        "item_vectors": (n_items, k),
        "rank_items": (n_items, r),
        "rank_history": (n_items, r),
        "popularity": (n_items,),
        "prior_mean": (k + 1,),
        "prior_precision": (k + 1, k + 1),
    }


def check_array(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    """Raise :class:`ArtifactRefused` unless ``array`` is finite float32 of ``shape``."""
    if array.dtype != np.dtype("<f4") or array.shape != shape:
        raise ArtifactRefused(f"{name} is {array.dtype}{list(array.shape)}, not float32{list(shape)}")
    # One reading, without an array of answers: of numbers that are no numbers no sum is one. Squares may add up to more
    # than float32 holds though all is well: then each is looked at.
    flat: Floats = array.reshape(-1).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = flat @ flat
    if not np.isfinite(squares) and not np.isfinite(array).all():
        raise ArtifactRefused(f"{name} holds numbers that are not finite")
