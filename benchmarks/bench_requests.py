"""Requests with parameters against plain ones: filters, reasons, similar movies, and the age rule."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from benchmarks.registry import BenchmarkResult, at_most, benchmark
from benchmarks.serving import MOVIES, Instance, load_instance, run_recommend, store
from marquee.registry.policy import Policy
from marquee.scoring.list_random import ListRandom
from marquee.serving.engine import Engine
from marquee.serving.exploration import Exploration
from marquee.serving.http_api import JSON
from marquee.serving.list_builder import ListContext
from marquee.serving.list_request import ListRequest, Rules
from marquee.serving.policy_rules import limit_age
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.user_state import EMPTY, build_user_state

USERS, ROUNDS, ROUND_S = 1_000, 15, 0.4
FILTERS = "genre=genre%200,genre%201,-genre%205&year=1980..1999&max_cost=0.5"
LISTS = 1_000_000


class _Kind(NamedTuple):
    """A kind of request: its path by number, and its Accept header."""

    path: Callable[[int], str]
    accept: str = "*/*"


_KINDS = {
    "plain": _Kind(lambda number: f"/recommend/{number % USERS}"),
    "filtered": _Kind(lambda number: f"/recommend/{number % USERS}?{FILTERS}"),
    "json": _Kind(lambda number: f"/recommend/{number % USERS}", JSON),
    "explained": _Kind(lambda number: f"/recommend/{number % USERS}?explain=3", JSON),
    "similar": _Kind(lambda number: f"/similar/film+number+{number % MOVIES}+{1950 + number % MOVIES % 70}"),
}


@benchmark("filtered_ratio", "explained_ratio", "similar_ratio")
def requests() -> Iterable[BenchmarkResult]:
    """Load a running instance with each kind of request in turn, and compare processor time per request."""
    times: dict[str, list[float]] = {name: [] for name in _KINDS}
    with run_recommend(store(USERS, 32)) as instance:
        instance.first_answer_ms("/recommend/1")
        for number in range(ROUNDS + 1):
            for name, kind in _KINDS.items():
                us = _measure_us(instance, kind)
                if number:  # The first round fills caches.
                    times[name].append(us)
    yield _compare(times, "filtered", 1.3, f"three filters, {FILTERS}")
    # Reasons exist in JSON only, so that their cost is the difference from the same answer in JSON.
    yield _compare(times, "explained", 1.2, "JSON with explain=3", of="json")
    yield _compare(times, "similar", 1.0, "similar movies")


def _measure_us(instance: Instance, kind: _Kind) -> float:
    result = load_instance(instance, kind.path, connections=4, seconds=ROUND_S, accept=kind.accept)
    assert not result.failed
    return result.processor_us


def _compare(times: dict[str, list[float]], kind: str, goal: float, text: str, *, of: str = "plain") -> BenchmarkResult:
    """Compare a kind of request with the kind ``of``, by the median over rounds with its quartiles."""
    ratios = [value / own for value, own in zip(times[kind], times[of], strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4)
    us, own_us, plain_us = (statistics.median(times[name]) for name in (kind, of, "plain"))
    reference = f"processor time of a request, {text}: {us:.0f} us; of a plain one: {plain_us:.0f} us"
    if of != "plain":
        reference += f"; of the same one in JSON without reasons: {own_us:.0f} us; the ratio is to the last"
    return at_most(f"{kind}_ratio", median, "ratio", goal, reference=reference, interval=(low, high))


@benchmark("under_age_movies", full=True)
def age_rule() -> Iterable[BenchmarkResult]:
    """Make lists for random ages, rules, users and policies, and count movies above the age or without a rating."""
    engine = Engine.load(store(USERS, 32), _find_version())
    engine.prepare()
    ages = np.array(engine.item_factors.metadata.ages)
    rng = np.random.default_rng(20260101)
    languages, lists, shown, wrong = ("en", "fr", "de", "hi"), 0, 0, 0
    while lists < LISTS:
        age = int(rng.integers(0, 18))
        rules = Rules(languages=(languages[rng.integers(4)],)) if rng.random() < 0.5 else Rules(max_age=99)
        policy = Policy(
            cost_weight=float(rng.integers(0, 2)), unavailable=(f"film+number+{rng.integers(MOVIES)}+1950",)
        )
        user = int(rng.integers(0, 2 * USERS))
        state = build_user_state(engine.item_factors, engine.read_record(str(user)), None) if user < USERS else EMPTY
        context = ListContext(
            Exploration(0.1, 3, 9), ListRandom(lists).random, policy=policy, rules=limit_age(rules, age), now=_NOW
        )
        rows = engine.make_list(state, ListRequest(rules=rules), context).rows
        restricted = ages[rows]
        wrong += int(((restricted > age) | (restricted < 0)).sum())
        shown += len(rows)
        lists += 1
    reference = f"movies above the age or unrated, among {shown:,} movies of {lists:,} lists of random rules and users"
    yield at_most("under_age_movies", wrong, "movies", 0, reference=reference)


_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _find_version() -> str:
    cache = ReleaseCache(store(USERS, 32), 1e6)
    loaded = cache.get(60)
    assert loaded is not None
    return loaded.release.arms[0].version
