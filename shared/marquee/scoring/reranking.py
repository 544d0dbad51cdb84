"""Greedy reranking of the best movies, for lists of unlike movies and for lists in the proportions of a history.

- Diversity: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998). Each next movie maximizes
  ``(1 - d) * relevance - d * similarity to the most similar movie already chosen``, the cosine of their vectors.
- Calibration: the next movie minimizes the Kullback-Leibler divergence of the list's genres from those of the history
  beside its loss of relevance (Steck, "Calibrated Recommendations", RecSys 2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"

CALIBRATION_WEIGHT = 0.5
"""Weight of the divergence; one minus it is that of the mean relevance."""

_SMOOTHING = 0.01  # Steck's alpha: a genre that the list lacks must not make the divergence infinite.


class Calibration(msgspec.Struct, frozen=True):
    """Genres of the movies, [n, n_genres] with rows of sum 1 or 0, and their proportions ``target`` [n_genres]."""

    genres: Floats
    target: Floats


def rerank(
    scores: Floats, n: int, vectors: Floats | None, diversity: float, calibration: Calibration | None = None
) -> list[int]:
    """Return the positions of ``n`` of the movies in their new order.

    ``scores`` [m], best first; ``vectors`` [m, r] are needed for ``diversity`` above 0. Ties go to the better score.
    """
    m = len(scores)
    relevance = _scale(scores)
    unit = None if vectors is None else _normalize(vectors)
    similarity = np.zeros(m, np.float32)
    counts = np.zeros(0, np.float32) if calibration is None else np.zeros_like(calibration.target)
    chosen: list[int] = []
    available = np.ones(m, np.bool_)
    for step in range(min(n, m)):
        value = (1 - diversity) * relevance - diversity * similarity
        if calibration is not None:
            divergence = _diverge(calibration, counts, step + 1)
            value = (1 - CALIBRATION_WEIGHT) * value / n - CALIBRATION_WEIGHT * divergence
        best = int(np.where(available, value, -np.inf).argmax())
        chosen.append(best)
        available[best] = False
        if unit is not None:
            similarity = np.maximum(similarity, unit @ unit[best]) if step else unit @ unit[best]
        if calibration is not None:
            counts = counts + calibration.genres[best]
    return chosen


def _diverge(calibration: Calibration, counts: Floats, length: int) -> Floats:
    """Return the divergence of the list with each movie added, [m]; ``length``: movies of the list, that included."""
    target = calibration.target
    shares = (counts + calibration.genres) / np.float32(length)
    smoothed = (1 - _SMOOTHING) * shares + _SMOOTHING * target
    known = target > 0
    ratio = np.log(target[known] / smoothed[:, known])
    divergence: Floats = ratio @ target[known]
    return divergence


def _scale(scores: Floats) -> Floats:
    """Return scores scaled to 0 to 1; all 0 if they are equal."""
    if not len(scores):
        return scores
    low, high = scores.min(), scores.max()
    scaled: Floats = (scores - low) / (high - low if high > low else np.float32(1))
    return scaled


def _normalize(vectors: Floats) -> Floats:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    unit: Floats = vectors / np.maximum(lengths, np.float32(1e-12))[:, None]
    return unit
