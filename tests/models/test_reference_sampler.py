"""The compiled sampler draws what the plain NumPy implementation draws."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.synthetic_data import sample_pairs, two_group_ratings

from marquee.models.bpmf import reference_sampler
from marquee.models.bpmf.gibbs import BpmfParams, create_sampler
from marquee.models.bpmf.reference_sampler import ReferenceSide
from marquee.models.bpmf.sampler import Sampler, Side

N_USERS, N_ITEMS = 40, 30


def compiled_sampler(factors: int) -> Sampler:
    """Return a sampler with features on both sides, some unknown, and a user and an item without ratings."""
    rng = np.random.default_rng(3)
    user, item = sample_pairs(N_USERS - 1, N_ITEMS - 1, 0.4, 0)
    rating = two_group_ratings(user, item) + rng.normal(0, 0.5, len(user))
    user_features, item_features = rng.random((N_USERS, 3)) < 0.4, rng.random((N_ITEMS, 4)) < 0.4
    features = ([user_features.astype(float)], [item_features.astype(float)])
    return create_sampler(user, item, rating, (N_USERS, N_ITEMS), *features, BpmfParams(factors, 8, 10), 7)


def to_reference(side: Side, n_columns: int) -> ReferenceSide:
    """Return a copy of the side's state in float64, with the ratings as a matrix."""
    ratings = np.full((side.rows, n_columns), np.nan)
    ratings[side.rating_rows(), side.column] = side.rating
    return ReferenceSide(
        ratings,
        side.vectors.astype(float),
        side.noise.astype(float),
        [block.astype(float) for block in side.blocks],
        [link.astype(float) for link in side.links],
        list(side.link_precision),
    )


@pytest.mark.parametrize("factors", [15, 31])
def test_sampler_same_normals_equal_reference_sampler(factors: int) -> None:
    """With equal state and random numbers, three sweeps agree in every variable, to float32 rounding."""
    chain = compiled_sampler(factors)
    users, items = to_reference(chain.users, N_ITEMS), to_reference(chain.items, N_USERS)
    alpha, rng = chain.alpha, np.random.default_rng()
    rng.bit_generator.state = chain.rng.bit_generator.state
    for _ in range(3):
        chain.sweep()
        alpha = reference_sampler.sweep(users, items, alpha, rng)
        assert chain.alpha == pytest.approx(alpha, rel=1e-3)
        for side, reference in ((chain.users, users), (chain.items, items)):
            np.testing.assert_allclose(side.vectors, reference.vectors, atol=2e-3)
            np.testing.assert_allclose(side.noise, reference.noise, rtol=1e-3)
            np.testing.assert_allclose(side.link_precision, reference.link_precision, rtol=1e-3)
            for link, expected in zip(side.links, reference.links, strict=True):
                np.testing.assert_allclose(link, expected, atol=2e-3)
    assert chain.rng.bit_generator.state == rng.bit_generator.state
