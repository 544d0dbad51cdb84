"""A trained model of two users and two movies."""

from __future__ import annotations

import numpy as np

from marquee.registry.trained_model import Histories, TrainedModel


def small_model(mean: float = 1 / 3, user_biases: tuple[float, float] = (0.0, 0.0)) -> TrainedModel:
    """Return a model of two users and two movies; other arrays are zeros or ones."""

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    histories = Histories.from_entries(2, np.array([0, 1]), np.array([1, 0]), np.array([3.0, np.nan]))
    return TrainedModel(
        user_ids=["ü", "b"],
        movie_ids=["x+1", "y+2"],
        mean=mean,
        user_biases=np.array(user_biases, np.float32),
        user_vectors=np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
        item_biases=zeros(2),
        item_vectors=zeros(2, 3),
        rank_items=zeros(2, 2),
        rank_history=zeros(2, 2),
        popularity=np.ones(2, np.float32),
        histories=histories,
        rating_min=1.0,
        rating_max=5.0,
        prior_mean=zeros(4),
        prior_precision=np.eye(4, dtype=np.float32),
        noise_precision=1.0,
    )
