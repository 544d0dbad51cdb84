"""From many samples to the one set of factors that is served.

A plain average of the factors drifts, since each sample is rotated against the others. For small
catalogues the mean prediction matrix itself is kept and cut to its best rank; for any size, each sample
is aligned to the running mean by orthogonal Procrustes first (Schoenemann, Psychometrika 1966).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from marquee.training.bayesian_svd.features import leading_directions

Float32 = NDArray[np.float32]

# Cells of the mean prediction matrix that are still kept whole, 4 bytes each.
DENSE_CELLS = 40_000_000


@dataclass(frozen=True, slots=True)
class Factors:
    """One linear model: user [n, k] . film [m, k] + the biases [n] and [m], about the global mean."""

    user_vectors: Float32
    user_biases: Float32
    film_vectors: Float32
    film_biases: Float32

    def predict(self, user: NDArray[np.integer], item: NDArray[np.integer]) -> Float32:
        """The prediction of each pair, less the global mean."""
        dots: Float32 = np.einsum("rk,rk->r", self.user_vectors[user], self.film_vectors[item])
        dots += self.user_biases[user] + self.film_biases[item]
        return dots


class Posterior(Protocol):
    """Takes one sample after the other and gives one set of factors for all of them."""

    @property
    def samples(self) -> int:
        """How many samples were added."""

    def add(self, users: Float32, films: Float32) -> None:
        """Count one sample: vectors [n, K + 1] and [m, K + 1], the bias last."""

    def factors(self) -> Factors:
        """What is served for the samples so far; there must have been one."""

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything that :meth:`restore` needs, as arrays."""

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Go on where :meth:`state` was taken."""


def posterior_for(n_users: int, n_films: int, rank: int, seed: int) -> Posterior:
    """The best one that fits into memory; ``rank`` is that of the served factors."""
    if n_users * n_films <= DENSE_CELLS:
        return MeanPrediction(n_users, n_films, rank, seed)
    return AlignedMean()


class MeanPrediction:
    """Keeps the mean prediction of every pair, [n, m], and cuts it to a rank. Memory: 4 n m bytes."""

    # Samples that are multiplied at once: one pass over the matrix serves them all.
    _PENDING = 8

    def __init__(self, n_users: int, n_films: int, rank: int, seed: int) -> None:
        self._total = np.zeros((n_users, n_films), np.float32)
        self.samples = 0
        self._rank = min(rank, n_users, n_films)
        self._seed = seed
        self._pending: list[tuple[Float32, Float32]] = []

    def add(self, users: Float32, films: Float32) -> None:
        one = np.float32(1.0)
        left = np.hstack([users, np.full((len(users), 1), one)])
        right = np.hstack([films[:, :-1], np.full((len(films), 1), one), films[:, -1:]])
        self._pending.append((left, right))
        self.samples += 1
        if len(self._pending) == self._PENDING:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            left = np.hstack([pair[0] for pair in self._pending])
            right = np.hstack([pair[1] for pair in self._pending])
            self._total += left @ right.T
            self._pending = []

    def factors(self) -> Factors:
        assert self.samples, "no sample was added"
        self._flush()
        mean = self._total / np.float32(self.samples)
        grand = float(mean.mean(dtype=np.float64))
        user_biases = mean.mean(axis=1, dtype=np.float64) - grand / 2
        film_biases = mean.mean(axis=0, dtype=np.float64) - grand / 2
        mean -= user_biases[:, None].astype(np.float32)
        mean -= film_biases.astype(np.float32)
        left, scale, right = leading_directions(mean, self._rank, self._seed)
        root = np.sqrt(scale)
        return Factors(
            np.ascontiguousarray(left * root, np.float32),
            user_biases.astype(np.float32),
            np.ascontiguousarray(right * root, np.float32),
            film_biases.astype(np.float32),
        )

    def state(self) -> dict[str, NDArray[np.generic]]:
        # What is pending stays so: multiplied in another grouping the last bits would differ.
        return {
            "total": self._total,
            "count": np.array(self.samples),
            "left": np.array([pair[0] for pair in self._pending], np.float32),
            "right": np.array([pair[1] for pair in self._pending], np.float32),
        }

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        self._total = np.array(state["total"], np.float32)
        self.samples = int(state["count"])
        pending = zip(state["left"], state["right"], strict=True)
        self._pending = [
            (np.asarray(left, np.float32), np.asarray(right, np.float32)) for left, right in pending
        ]


class AlignedMean:
    """Keeps the mean of the aligned samples. Memory: that of two samples, whatever their number."""

    def __init__(self) -> None:
        self._users: Float32 | None = None
        self._films: Float32 | None = None
        self.samples = 0

    def add(self, users: Float32, films: Float32) -> None:
        self.samples += 1
        if self._users is None or self._films is None:
            self._users, self._films = users.copy(), films.copy()
            return
        k = users.shape[1] - 1
        overlap = users[:, :k].T @ self._users[:, :k] + films[:, :k].T @ self._films[:, :k]
        left, _, right = np.linalg.svd(overlap.astype(np.float64))
        turn = (left @ right).astype(np.float32)
        for mean, sample in ((self._users, users), (self._films, films)):
            step = np.float32(1.0 / self.samples)
            mean[:, :k] += step * (sample[:, :k] @ turn - mean[:, :k])
            mean[:, k] += step * (sample[:, k] - mean[:, k])

    def factors(self) -> Factors:
        assert self._users is not None, "no sample was added"
        assert self._films is not None, "no sample was added"
        return Factors(
            np.ascontiguousarray(self._users[:, :-1]),
            self._users[:, -1].copy(),
            np.ascontiguousarray(self._films[:, :-1]),
            self._films[:, -1].copy(),
        )

    def state(self) -> dict[str, NDArray[np.generic]]:
        assert self._users is not None, "no sample was added"
        assert self._films is not None, "no sample was added"
        return {"users": self._users, "films": self._films, "count": np.array(self.samples)}

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        self._users = np.array(state["users"], np.float32)
        self._films = np.array(state["films"], np.float32)
        self.samples = int(state["count"])
