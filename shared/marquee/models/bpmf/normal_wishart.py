"""Draws from the Normal-Wishart distribution, the conjugate prior of a Gaussian's mean and precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]


def draw_normal_wishart(
    residual: Floats, links: Sequence[Floats], link_precision: Sequence[float], rng: np.random.Generator
) -> tuple[Float64, Float64]:
    """Draw the mean [width] and precision [width, width] of the rows of ``residual`` [rows, width].

    Prior: Wishart with ``width`` degrees of freedom and scale 1; the mean is N(0, (2 Lambda)^-1). The link matrices
    have precision ``link_precision`` x Lambda, so they inform Lambda too.
    """
    rows, width = residual.shape
    mean = residual.mean(axis=0, dtype=np.float64)
    scatter = (residual.T @ residual).astype(np.float64) - rows * np.outer(mean, mean)
    strength = 2.0
    scale_inverse = np.eye(width) + scatter + strength * rows / (strength + rows) * np.outer(mean, mean)
    freedom = width + rows
    for link, weight in zip(links, link_precision, strict=True):
        scale_inverse += weight * (link.T @ link).astype(np.float64)
        freedom += len(link)
    precision = draw_wishart(freedom, np.linalg.inv(scale_inverse), rng)
    root = np.linalg.cholesky(np.linalg.inv(precision * (strength + rows)))
    return rows * mean / (strength + rows) + root @ rng.standard_normal(width), precision


def draw_wishart(freedom: float, scale: Float64, rng: np.random.Generator) -> Float64:
    """Draw from the Wishart distribution with mean ``freedom`` x ``scale``, by Bartlett's decomposition."""
    width = len(scale)
    lower = np.tril(rng.standard_normal((width, width)), -1)
    lower[np.diag_indices(width)] = np.sqrt(rng.chisquare(freedom - np.arange(width)))
    root = np.linalg.cholesky(scale) @ lower
    return root @ root.T
