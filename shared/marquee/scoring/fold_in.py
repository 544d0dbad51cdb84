"""Fold-in: a user's vector and bias from their ratings, computed at request time.

The user's ``theta = [p, b]`` has the Gaussian prior of the trained users, ``N(m + shift, L^-1)``. The rating of item i
is ``mean + c_i + theta . [q_i, 1] + d + e`` with ``e ~ N(0, 1/a)``. The posterior is Gaussian, so that its mean has a
closed form. See Bishop, *Pattern Recognition and Machine Learning*, 3.3.1.

``d`` is the drift of the user's level (:mod:`marquee.scoring.level_drift`).

``shift`` is the implicit feedback of the user: the sum of a vector for each rated item, divided by the square root of
their number, as in SVD++ (Koren, 2008).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from marquee.scoring.level_drift import NO_DRIFT, WINDOW, Drift, DriftFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

Vector: TypeAlias = "NDArray[np.float32]"


class Prior(NamedTuple):
    """Gaussian prior of a user's ``k`` factors and, last, their bias.

    ``mean``: [k+1]; ``precision``: [k+1, k+1], symmetric and positive definite; ``noise_precision``: one over the
    variance of a rating around its prediction; ``implicit``: vector of each rated item [n_items, k+1], None for none.
    """

    mean: NDArray[np.floating]
    precision: NDArray[np.floating]
    noise_precision: float
    drift: Drift = NO_DRIFT
    implicit: NDArray[np.floating] | None = None


class RatingShares(NamedTuple):
    """Shares of a user's ``n`` ratings in the prediction for any item: affine in the item's vector.

    ``slopes``: [k, n]; ``offsets``: [n]; ``shift``: the implicit feedback [k+1], None for none.
    """

    slopes: Vector
    offsets: Vector
    shift: Vector | None


class FoldIn:
    """Fold-in over a fixed catalog; all terms that do not depend on the user are precomputed.

    ``item_vectors`` [n_items, k], ``item_biases`` [n_items]; ``mean`` is that of all ratings. One call takes about 60
    microseconds. Safe to share between threads.
    """

    def __init__(self, item_vectors: Vector, item_biases: Vector, mean: float, prior: Prior) -> None:
        k = item_vectors.shape[1]
        self._vectors = item_vectors
        self._prior_mean = prior.mean.astype(np.float32)
        # Solve for the offset from the prior mean, which float32 resolves however narrow the prior is. Both sides are
        # divided by the noise precision.
        self._precision = (prior.precision / prior.noise_precision).astype(np.float32)
        self._covariance = (np.linalg.inv(prior.precision.astype(np.float64)) * prior.noise_precision).astype(
            np.float32
        )
        prior_predictions = item_vectors @ self._prior_mean[:k] + item_biases
        self._prior_predictions = (prior_predictions + (mean + prior.mean[k])).astype(np.float32)
        self._implicit = None if prior.implicit is None else prior.implicit.astype(np.float32, copy=False)
        self._drift = DriftFilter(prior.drift) if prior.drift.variance else None

    def posterior_mean(self, items: NDArray[np.integer], ratings: NDArray[np.floating]) -> tuple[Vector, float]:
        """Return the posterior mean of the user's vector [k] and bias; without ratings, the prior mean.

        ``items`` and ``ratings`` [n] have one entry per rated item, the newest last. The bias includes the drift at
        the next rating.
        """
        k = self._vectors.shape[1]
        if not len(items):
            return self._prior_mean[:k], float(self._prior_mean[k])
        x = np.empty((len(items), k + 2), np.float32)  # The last column holds the residuals.
        x[:, :k] = self._vectors.take(items, axis=0)
        x[:, k] = 1.0
        np.subtract(ratings, self._prior_predictions.take(items), out=x[:, -1], casting="same_kind")
        mean = self._prior_mean
        if self._implicit is not None:
            shift = self._implicit.take(items, axis=0).sum(axis=0) * np.float32(len(items) ** -0.5)
            x[:, -1] -= x[:, :-1] @ shift
            mean = mean + shift
        if self._drift is not None:
            x = self._drift.whiten(x)
        products = x[:, :-1].T @ x
        products[:, :-1] += self._precision
        theta = np.linalg.solve(products[:, :-1], products[:, -1])
        drift = self._drift.predict(x[-WINDOW:], theta) if self._drift is not None else 0.0
        theta += mean
        return theta[:k], float(theta[k]) + drift

    def prepare_shares(self, items: NDArray[np.integer], ratings: NDArray[np.floating]) -> RatingShares:
        """Return what :meth:`shares` needs of a user, whose ``items`` and ``ratings`` [n] are as above."""
        k, n = self._vectors.shape[1], len(items)
        if not n:
            return RatingShares(np.zeros((k, 0), np.float32), np.zeros(0, np.float32), None)
        rated = np.ones((n, k + 1), np.float32)
        rated[:, :k] = self._vectors.take(items, axis=0)
        residuals = (ratings - self._prior_predictions.take(items)).astype(np.float32, copy=False)
        shift: Vector | None = None
        if self._implicit is not None:
            shift = self._implicit.take(items, axis=0).sum(axis=0, dtype=np.float32) * np.float32(n**-0.5)
            residuals = residuals - rated @ shift
        if self._drift is None:
            slopes = self._weigh(rated) * residuals
            return RatingShares(slopes[:k], slopes[k], shift)
        # Column k + 1 + j holds the residual of rating j alone.
        x = self._drift.whiten(np.hstack([rated, np.diag(residuals)]))
        rated, errors = x[:, : k + 1], x[:, k + 1 :]
        ahead, weights = self._drift.next_weights(n), self._weigh(rated)
        window = slice(-len(ahead), None)
        offsets = np.asarray(-(ahead @ rated[window]) @ weights, np.float32)
        offsets[window] += ahead
        slopes = weights @ errors
        return RatingShares(slopes[:k], slopes[k] + offsets @ errors, shift)

    def shares(self, user: RatingShares, targets: NDArray[np.integer]) -> tuple[Vector, Vector]:
        """Return the predictions for ``targets`` [m] without the ratings, and the share of each rating in them, [m, n].

        Their sum is the prediction by :meth:`posterior_mean`, which is linear in the ratings. What a rating says by its
        mere existence, the implicit feedback, is in the first part.
        """
        vectors, baseline = self._vectors.take(targets, axis=0), self._prior_predictions.take(targets)
        if user.shift is not None:
            baseline = baseline + vectors @ user.shift[:-1] + user.shift[-1]
        return baseline, vectors @ user.slopes + user.offsets

    def _weigh(self, rated: Vector) -> Vector:
        """Return the matrix whose product with an item's ``[vector, 1]`` is the weight of each residual, [k+1, n]."""
        if len(rated) >= rated.shape[1]:
            weights: Vector = np.linalg.solve(rated.T @ rated + self._precision, rated.T)
            return weights
        # The same by the matrix inversion lemma, with one equation for each rating instead of each factor.
        projected = rated @ self._covariance
        products = projected @ rated.T
        products.flat[:: len(rated) + 1] += 1.0
        weights = np.linalg.solve(products, projected).T
        return weights
