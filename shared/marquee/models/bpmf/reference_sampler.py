"""Gibbs sampler of BPMF in plain NumPy: slow, short, and the file to read first.

:mod:`~marquee.models.bpmf.sampler` draws the same in float32 with a compiled kernel; a test holds the two equal.

Model, for user u and item i with vectors p, q of K factors and biases b, c:

    r_ui = mean + b_u + c_i + p_u . q_i + e,          e ~ N(0, 1 / (alpha h_u h_i))
    theta_u = [p_u, b_u] ~ N(m + x_u B, Lambda^-1)     and likewise theta_i = [q_i, c_i]
    (m, Lambda) ~ Normal-Wishart,  B ~ N(0, (lambda Lambda)^-1),  lambda ~ Gamma(1, 1)   for each block of features
    h_u, h_i ~ Gamma(shape 10, mean 1),  alpha ~ Gamma(1, 1)

x_u are the features of the user in blocks with orthogonal columns: implicit feedback and side information. h is the
noise weight: a noisy rater has a small h and counts less. A sweep draws each variable once, given all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marquee.models.bpmf.normal_wishart import draw_normal_wishart

Float64 = NDArray[np.float64]
NOISE_SHAPE = 10.0


@dataclass
class ReferenceSide:
    """Users or items.

    - ``ratings`` [rows, columns]: centered on the mean rating, NaN where there is none
    - ``vectors`` [rows, K + 1]: theta, the bias last
    - ``noise`` [rows]: h
    - ``blocks``: feature blocks [rows, features]; ``links``: B of each block; ``link_precision``: its lambda
    """

    ratings: Float64
    vectors: Float64
    noise: Float64
    blocks: Sequence[Float64]
    links: list[Float64]
    link_precision: list[float]


def sweep(users: ReferenceSide, items: ReferenceSide, alpha: float, rng: np.random.Generator) -> float:
    """Draw every variable once, in place, and return the new ``alpha``."""
    draw_vectors(users, items, alpha, rng)
    draw_vectors(items, users, alpha, rng)
    return draw_noise(users, items, alpha, rng)


def draw_vectors(side: ReferenceSide, other: ReferenceSide, alpha: float, rng: np.random.Generator) -> None:
    """Draw the side's prior, then each row's vector: a Bayesian linear regression on the other side's vectors."""
    prior_mean, prior_precision = draw_prior(side, rng)
    normals = rng.standard_normal(side.vectors.shape, dtype=np.float32)
    for row, ratings in enumerate(side.ratings):
        rated = np.flatnonzero(~np.isnan(ratings))
        design = np.column_stack([other.vectors[rated, :-1], np.ones(len(rated))])
        target = ratings[rated] - other.vectors[rated, -1]
        weight = alpha * side.noise[row] * other.noise[rated]
        precision = prior_precision + design.T @ (weight[:, None] * design)
        moment = prior_precision @ prior_mean[row] + design.T @ (weight * target)
        # theta = precision^-1 moment + L^-T z has covariance precision^-1, where L L^T = precision.
        lower = np.linalg.cholesky(precision)
        side.vectors[row] = np.linalg.solve(lower.T, np.linalg.solve(lower, moment) + normals[row])


def draw_prior(side: ReferenceSide, rng: np.random.Generator) -> tuple[Float64, Float64]:
    """Draw (m, Lambda), then B and lambda of each block. Return each row's prior mean, and Lambda."""
    explained = [block @ link for block, link in zip(side.blocks, side.links, strict=True)]
    residual = side.vectors - sum(explained, np.zeros_like(side.vectors))
    mean, precision = draw_normal_wishart(residual, side.links, side.link_precision, rng)
    covariance_root = np.linalg.cholesky(np.linalg.inv(precision))
    for k, block in enumerate(side.blocks):
        others = sum(explained[:k] + explained[k + 1 :], np.zeros_like(side.vectors))
        moment = block.T @ (side.vectors - mean - others)
        # X^T X is diagonal, so the rows of B are independent.
        link_precision = (np.square(block).sum(axis=0) + side.link_precision[k])[:, None]
        normals = rng.standard_normal(moment.shape) @ covariance_root.T
        link = moment / link_precision + normals / np.sqrt(link_precision)
        quadratic_form = float(np.sum((link @ precision) * link))
        side.links[k], explained[k] = link, block @ link
        side.link_precision[k] = rng.gamma(1.0 + link.size / 2, 1.0 / (1.0 + quadratic_form / 2))
    return mean + sum(explained, np.zeros_like(side.vectors)), precision


def draw_noise(users: ReferenceSide, items: ReferenceSide, alpha: float, rng: np.random.Generator) -> float:
    """Draw h of the users, then of the items, and return a new ``alpha``."""
    dots = users.vectors[:, :-1] @ items.vectors[:, :-1].T
    squares = np.square(users.ratings - users.vectors[:, -1:] - items.vectors[:, -1] - dots)
    counts = ~np.isnan(squares)
    squares = np.nan_to_num(squares)
    users.noise = _draw_noise_weights(squares @ items.noise, counts.sum(axis=1), alpha, rng)
    items.noise = _draw_noise_weights(squares.T @ users.noise, counts.sum(axis=0), alpha, rng)
    weighted = float(users.noise @ squares @ items.noise)
    return float(rng.gamma(1.0 + counts.sum() / 2, 1.0 / (1.0 + weighted / 2)))


def _draw_noise_weights(
    squares: Float64, counts: NDArray[np.integer], alpha: float, rng: np.random.Generator
) -> Float64:
    return rng.gamma(NOISE_SHAPE + counts / 2, 1.0 / (NOISE_SHAPE + alpha * squares / 2))
