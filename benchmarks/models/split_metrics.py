"""One system on one split: what was learnt, at what cost, and how right it was for each user, as plain arrays."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.models.algorithms import Algorithm
from benchmarks.models.compared_systems import ComparedAlgorithm
from marquee.data.splits import Split
from marquee.evaluation import offline
from marquee.scoring.topk import top_n
from marquee.training.params import Params

Arrays = dict[str, NDArray[np.generic]]
Floats = NDArray[np.float64]

SHOWN = 20
_ASKED = 200  # users whose answers are timed


def measure(entry: Algorithm, split: Split, params: Params) -> Arrays:
    """By one thread. ``cpu_s``, ``answer_us``, ``in_memory``, ``on_disk``: one number each.

    Of a system that rates: by user of the test ``users``, the sums ``squared`` and ``absolute`` of the errors, and
    ``counts``. Of one that ranks: by user who likes an item ``ranked``, each metric, and ``shown`` [n, 20].
    """
    with threadpool_limits(1, user_api="blas"):
        began = time.process_time()
        system = entry.learn(split.train, params)
        found: Arrays = {"cpu_s": np.array(time.process_time() - began)}
        found |= {name: np.array(getattr(system, name)) for name in ("in_memory", "on_disk")}
        found["answer_us"] = np.array(_answer_us(system, split))
        if system.candidate.rate:
            found |= _rated(system, split)
        if system.candidate.score:
            found |= _ranked(system, split)
    return found


def _rated(system: ComparedAlgorithm, split: Split) -> Arrays:
    squared, absolute, counts = offline.errors_by_user(system.candidate, split.test)
    return {
        "users": np.unique(split.test.users),
        "squared": squared,
        "absolute": absolute,
        "counts": counts,
    }


def _ranked(system: ComparedAlgorithm, split: Split) -> Arrays:
    found = offline.ranking(system.candidate, split)
    novelty = _surprise(split)[found.shown].mean(axis=1)
    return {"ranked": found.users, "shown": found.shown, "novelty": novelty, **offline.by_user(found)}


def _surprise(split: Split) -> Floats:
    """The self-information of each item in bits: of its being known to a user drawn at random.

    Zhou and others, "Solving the apparent diversity-accuracy dilemma of recommender systems" (PNAS 2010).
    """
    ratings = split.train.ratings
    known_to = np.maximum(np.bincount(ratings.items, minlength=split.train.n_items), 1)
    found: Floats = -np.log2(known_to / len(np.unique(ratings.users)))
    return found


def _answer_us(system: ComparedAlgorithm, split: Split) -> float:
    """The median time from a user's row to his list of 20 items, HTTP and the reading of the row apart."""
    seconds = []
    ratings = split.train.ratings
    known = np.unique(ratings.users)
    for user in known[:: max(len(known) // _ASKED, 1)].tolist():
        seen = ratings.items[ratings.users == user]
        began = time.perf_counter()
        top_n(system.answer(user), SHOWN, seen)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)) * 1e6
