"""Candidates of a list: movies that are unseen and pass the request's rules and the policy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mask: TypeAlias = "NDArray[np.bool_]"
Rows: TypeAlias = "NDArray[np.integer]"


class Candidates:
    """Movies of ``n_items`` that a list may show.

    Without rules, ``flags`` is None and all but the rows ``seen`` are candidates; ``seen`` may repeat rows. With rules,
    ``flags`` [n_items] has the candidates alone. ``allowed`` also has the seen movies that pass, which fill a list if
    nothing else is left; None if nothing may fill it.
    """

    def __init__(self, n_items: int, seen: Rows, flags: Mask | None = None, allowed: Mask | None = None) -> None:
        self.n_items = n_items
        self.seen = seen
        self.flags = flags
        self._allowed = allowed
        self.count = n_items - len(set(seen.tolist())) if flags is None else int(np.count_nonzero(flags))

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """The rows of the candidates, ascending."""
        return self.as_flags().nonzero()[0]

    def as_flags(self) -> Mask:
        """Return the candidates as flags, [n_items], to be read only."""
        if self.flags is not None:
            return self.flags
        flags = np.ones(self.n_items, np.bool_)
        flags[self.seen] = False
        return flags

    def without(self, rows: list[int]) -> Candidates:
        """Return the candidates without ``rows``."""
        flags = self.as_flags().copy()
        flags[rows] = False
        return Candidates(self.n_items, self.seen, flags, self._allowed)

    def within(self, mask: Mask) -> Candidates:
        """Return the candidates within ``mask`` [n_items]."""
        return Candidates(self.n_items, self.seen, self.as_flags() & mask)

    def fill(self, n: int) -> list[int]:
        """Return up to ``n`` seen rows that may fill a list, those seen longest ago first."""
        allowed = self._allowed
        if allowed is None and self.flags is not None:
            return []
        newest_first = dict.fromkeys(self.seen.tolist()[::-1])
        return [row for row in reversed(newest_first) if allowed is None or allowed[row]][:n]


def select_candidates(
    n_items: int, seen: Rows, passing: Mask | None, removed: Sequence[Rows], *, may_be_filled: bool
) -> Candidates:
    """Return the movies of ``passing`` (None: all) without ``seen`` and without the rows of ``removed``."""
    removed = [rows for rows in removed if len(rows)]
    if passing is None and not removed and may_be_filled:
        return Candidates(n_items, seen)
    allowed = np.ones(n_items, np.bool_) if passing is None else passing.copy()
    for rows in removed:
        allowed[rows] = False
    flags = allowed
    if len(seen):
        flags = allowed.copy() if may_be_filled else allowed
        flags[seen] = False
    return Candidates(n_items, seen, flags, allowed if may_be_filled else None)
