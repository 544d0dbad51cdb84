"""A user's vector and bias from his ratings, at request time.

The user's ``theta = [p, b]`` has the Gaussian prior of the trained users, ``N(m, L^-1)``, and a rating
of film i is ``mean + c_i + theta . [q_i, 1] + e``, ``e ~ N(0, 1/a)``. The posterior is Gaussian too, and
its mean solves ``(L + a X'X) theta = L m + a X'y``, with rows ``[q_i, 1]`` in X and what mean and film
bias leave of the ratings in y: ridge regression whose ridge was learnt. See Bishop, *Pattern Recognition
and Machine Learning*, 3.3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of a user before his first rating. ``k`` factors and, last, the bias.

    ``mean``: [k+1]; ``precision``: [k+1, k+1], symmetric and positive definite; ``noise_precision``: one
    over the variance of a rating around its prediction.
    """

    mean: NDArray[np.floating]
    precision: NDArray[np.floating]
    noise_precision: float


def fold_in(
    item_vectors: Vector,
    item_biases: Vector,
    mean: float,
    prior: Prior,
    items: NDArray[np.integer],
    ratings: NDArray[np.floating],
) -> tuple[Vector, float]:
    """Return the posterior mean of the user's vector [k] and bias.

    ``item_vectors`` [n_items, k], ``item_biases`` [n_items]; ``items`` and ``ratings`` [n], one entry a
    rated film. Without ratings it is the prior's mean. Solved in float64: at 100 factors and a narrow
    prior float32 loses half of its digits, and the difference in time is not seen in an answer.
    """
    k = item_vectors.shape[1]
    if not len(items):
        return prior.mean[:k].astype(np.float32), float(prior.mean[k])
    x = np.ones((len(items), k + 1))
    x[:, :k] = item_vectors[items]
    residuals = np.asarray(ratings, dtype=np.float64) - mean - item_biases[items]
    left = prior.precision + prior.noise_precision * (x.T @ x)
    right = prior.precision @ prior.mean + prior.noise_precision * (residuals @ x)
    theta = np.linalg.solve(left, right)
    return theta[:k].astype(np.float32), float(theta[k])
