"""Content model: factors predicted from metadata, for movies with few or no ratings.

A ridge regression predicts the factors of rated movies from their features, for both heads: attribute-to-factor
mapping, Gantner et al., *Learning Attribute-to-Feature Mappings for Cold-Start Recommendations* (ICDM 2010). The
ridge minimizes the leave-one-out error, which has a closed form. The prediction acts as a prior of the learned factors:
with n interactions its weight is :data:`STRENGTH` / (n + :data:`STRENGTH`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from marquee.models.ranker_port import RankingFactors
from marquee.models.trainer_port import Floats, RatingFactors

STRENGTH = 3.0
"""Number of interactions of a movie at which its metadata have the weight 1/2."""

_RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_MIN_MOVIES = 20
_SHORTEST = 0.01


@dataclass(frozen=True, slots=True)
class ContentRegression:
    """Ridge regression on the features of all movies, in the eigenvectors of their weighted Gram matrix.

    - ``rotated`` [n_items, f]: features times the eigenvectors
    - ``eigenvalues`` [f]; ``weights`` [n_items]: reliability of each movie's learned factors, from 0 to 1
    """

    rotated: Floats
    eigenvalues: Floats
    weights: Floats

    @classmethod
    def from_features(cls, features: Floats, counts: Floats) -> ContentRegression:
        """Prepare the regression on ``features`` [n_items, f] and a constant; ``counts`` [n_items] are interactions."""
        weights = counts / (counts + STRENGTH)
        # A constant of unit length, so that a movie without known attributes gets about the mean.
        columns = np.column_stack([features, np.ones(len(features))])
        eigenvalues, vectors = np.linalg.eigh(columns.T @ (columns * weights[:, None]))
        return cls(columns @ vectors, np.maximum(eigenvalues, 0.0), weights)

    def predict(self, targets: Floats) -> Floats:
        """Return the prediction [n_items, k] of ``targets`` [n_items, k], with the best ridge."""
        return min((self._fit(targets, ridge) for ridge in _RIDGES), key=lambda fit: fit[0])[1]

    def _fit(self, targets: Floats, ridge: float) -> tuple[float, Floats]:
        """Return the weighted mean squared leave-one-out error, and the predictions [n_items, k]."""
        inverse = 1 / (self.eigenvalues + ridge)
        predictions = self.rotated @ ((self.rotated.T @ (targets * self.weights[:, None])) * inverse[:, None])
        leverage = self.weights * (self.rotated**2 @ inverse)
        left_out = (targets - predictions) / np.maximum(1 - leverage, 1e-6)[:, None]
        return float(self.weights @ (left_out**2).sum(1)), predictions


def complete(
    features: Floats | None, rated: Floats, rating: RatingFactors, ranking: RankingFactors, counts: Floats
) -> tuple[RatingFactors, RankingFactors]:
    """Return both heads, with the factors of movies with few interactions shrunk toward the predictions from metadata.

    ``features`` [n_items, f] are of the metadata; ``rated`` and ``counts`` [n_items] are the numbers of ratings and of
    interactions. The rating head changes only for movies without ratings, because
    trainers shrink the others themselves (BPMF toward genres and years). Without features, or with too few movies to
    learn from, both heads are returned unchanged.
    """
    if features is None or np.count_nonzero(counts) < _MIN_MOVIES:
        return rating, ranking
    return _complete_rating(rating, features, rated), complete_ranking(ranking, features, counts)


def _complete_rating(rating: RatingFactors, features: Floats, rated: Floats) -> RatingFactors:
    unknown = (rated == 0) & features.any(axis=1)
    if not unknown.any() or not rated.any():
        return rating
    theta = np.column_stack([rating.item_vectors, rating.item_biases])
    predicted = ContentRegression.from_features(features, rated).predict(theta)
    theta[unknown] = predicted[unknown]
    return replace(rating, item_vectors=theta[:, :-1], item_biases=theta[:, -1])


def complete_ranking(ranking: RankingFactors, features: Floats, counts: Floats) -> RankingFactors:
    """Return the ranking head with completed factors, and with the trend of these; see :func:`complete`."""
    n_learned = ranking.rank_items.shape[1] - ranking.popularity_columns
    trend = np.ones(len(counts)) if ranking.trend is None else ranking.trend
    regression = ContentRegression.from_features(features, counts)
    prior = np.where(features.any(axis=1), STRENGTH / (counts + STRENGTH), 0.0)[:, None]
    items, history = ranking.rank_items.copy(), ranking.rank_history.copy()
    learned = items[:, :n_learned] / trend[:, None]
    predicted = regression.predict(learned)
    added = prior * _few_to_average(learned, predicted, counts) * predicted
    # Without the trend: metadata tell nothing of growth, and the growth of a movie with few interactions is noise.
    items[:, :n_learned] += added
    history[:, :n_learned] += prior * regression.predict(history[:, :n_learned])
    new_trend = None if ranking.trend is None else _find_trend(trend, items[:, :n_learned], learned + added)
    return replace(ranking, rank_items=items, rank_history=history, trend=new_trend)


def _find_trend(trend: Floats, items: Floats, plain: Floats) -> Floats:
    """Return the factor of growth in each row of ``items``, whose rows without growth are those of ``plain``.

    Only a part of a completed row was multiplied by ``trend``. Division of the whole row by a small trend would make it
    longer than the row of any well-known movie.
    """
    lengths, plain_lengths = np.linalg.norm(items, axis=1), np.linalg.norm(plain, axis=1)
    found = trend.copy()
    np.divide(lengths, plain_lengths, out=found, where=(lengths > 0) & (plain_lengths > 0))
    return found


def _few_to_average(learned: Floats, predicted: Floats, counts: Floats) -> float:
    """Return the length of the learned factors of movies with few interactions, relative to the predicted ones.

    A movie with few views is rarely chosen next, so its factors are short. Predicted factors have the length of an
    average movie, which would rank new movies above well-known ones.
    """
    few = (counts > 0) & (counts <= STRENGTH)
    if not few.any():
        return _SHORTEST
    lengths = [float(np.linalg.norm(factors[few], axis=1).mean()) for factors in (learned, predicted)]
    return min(lengths[0] / max(lengths[1], 1e-12), 1.0)
