"""Drift of a user's level: how much higher or lower than usual they rate at the moment.

A stationary Ornstein-Uhlenbeck process over the order of the user's ratings, with covariance
``variance * correlation^lag``. See Rasmussen and Williams, *Gaussian Processes for Machine Learning*, appendix B. Drift
correlates the errors of consecutive ratings. Multiplied by the inverse Cholesky factor of their covariance, which
depends on nothing but their number, the errors are independent again, and fold-in remains a ridge regression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from marquee.errors import ArtifactRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rows: TypeAlias = "NDArray[np.float32]"

WINDOW = 32
"""Consecutive ratings whose drift is correlated, counted back from the newest. Windows count as independent."""


class Drift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Drift of a user's level.

    ``variance``: of the drift, as a multiple of the variance of the noise; 0 turns the drift off. ``correlation``: of
    the levels at consecutive ratings, from 0 to below 1.
    """

    variance: float = 0.0
    correlation: float = 0.0

    def check(self) -> None:
        """Raise :class:`ArtifactRefused` unless the process is stationary."""
        if not (0 <= self.variance < np.inf and 0 <= self.correlation < 1):
            raise ArtifactRefused(
                f"the drift has variance {self.variance} and correlation {self.correlation}; "
                "the variance must be finite and at least 0, the correlation from 0 to below 1"
            )


NO_DRIFT = Drift()


class DriftFilter:
    """Filter that makes the errors of consecutive ratings independent, of unit variance in units of the noise."""

    def __init__(self, drift: Drift) -> None:
        steps = np.arange(WINDOW)
        covariance = drift.variance * drift.correlation ** np.abs(steps[:, None] - steps)
        root = np.linalg.cholesky(covariance + np.eye(WINDOW))
        # The factor of the first n ratings is the leading block, and so is its inverse.
        self._inverse_root = np.linalg.inv(root).astype(np.float32)
        # Row n - 1: weights of the whitened errors of n ratings in the expected drift at the next one.
        self._next = np.zeros((WINDOW, WINDOW), np.float32)
        for n in range(1, WINDOW + 1):
            ahead = drift.variance * drift.correlation ** np.arange(n, 0, -1)
            self._next[n - 1, :n] = self._inverse_root[:n, :n] @ ahead

    def whiten(self, x: Rows) -> Rows:
        """Return the rows ``x`` [n, columns] with independent errors."""
        n, columns = x.shape
        if n <= WINDOW:
            return self._inverse_root[:n, :n] @ x
        first = n % WINDOW
        windows = self._inverse_root @ x[first:].reshape(-1, WINDOW, columns)
        return np.concatenate([self._inverse_root[:first, :first] @ x[:first], windows.reshape(-1, columns)])

    def predict(self, x: Rows, theta: Rows) -> float:
        """Return the expected drift at the next rating; ``x`` [n, k + 2] are the whitened rows of the last window."""
        return float(self.next_weights(len(x)) @ (x[:, -1] - x[:, :-1] @ theta))

    def next_weights(self, n: int) -> Rows:
        """Return the weights of the last whitened errors of ``n`` ratings in the drift at the next, [at most 32]."""
        n = min(n, WINDOW)
        return self._next[n - 1, :n]
