"""Shapes and validation of an artifact's item arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from marquee.errors import ArtifactRefused

if TYPE_CHECKING:  # Importing it costs 2 ms at the start of an instance.
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"
_PAIRS_AT_ONCE = 1 << 18


def empty_matrix() -> Floats:
    """Return what an artifact without an optional array has, [0, 0]."""
    return np.empty((0, 0), np.float32)


def item_shapes(n_items: int, k: int, r: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each item array. ``k``: rank of the rating model; ``r``: rank of the ranking model."""
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
    # Check in one pass without a temporary mask: a NaN or infinity makes the dot product non-finite. Finite values can
    # also overflow float32, so fall back to isfinite in that case.
    flat: Floats = array.reshape(-1).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        sum_of_squares = flat @ flat
    if not np.isfinite(sum_of_squares) and not np.isfinite(array).all():
        raise ArtifactRefused(f"{name} contains numbers that are not finite")


def multiply_pairs(
    left: NDArray[np.floating], left_rows: NDArray[np.integer], right: NDArray[np.floating], rows: NDArray[np.integer]
) -> NDArray[np.floating]:
    """Return the dot product of each row of ``left`` [n, k] with its row of ``right`` [m, k], for all pairs.

    The rows are copied in blocks: those of 20,000,000 ratings would take 8 GB.
    """
    products = np.empty(len(rows), np.result_type(left, right))
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        np.einsum("nk,nk->n", left[left_rows[block]], right[rows[block]], out=products[block])
    return products
