"""Requests with parameters against plain ones: filters, reasons, similar movies, and the age rule."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from benchmarks.registry import BenchmarkResult, at_most, benchmark
from benchmarks.serving import MOVIES, Instance, load_instance, random_model, run_recommend, scratch, store
from marquee.registry.artifact import write_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.policy import Pin, Policy, Quota
from marquee.scoring.list_random import ListRandom
from marquee.serving.engine import Engine
from marquee.serving.exploration import Exploration
from marquee.serving.http_api import JSON
from marquee.serving.list_builder import ListContext
from marquee.serving.list_request import ListRequest, Rules
from marquee.serving.policy_rules import limit_age
from marquee.serving.user_state import EMPTY, build_user_state

USERS, ROUNDS, ROUND_S = 1_000, 31, 0.4
FILTERS = "genre=genre%200,genre%201,-genre%205&year=1980..1999&max_cost=0.5"
LISTS = 1_000_000
_NOW, _EXPLORATION = datetime(2026, 1, 1, tzinfo=UTC), Exploration(0.1, 3, 9, 1)
_AGED_USERS, _AGED_MOVIES = 50, (300, 1_000, 7_000)


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
    yield _compare(times, "explained", 1.2, "JSON with explain=3", than="json")
    yield _compare(times, "similar", 1.0, "similar movies")


def _measure_us(instance: Instance, kind: _Kind) -> float:
    result = load_instance(instance, kind.path, connections=4, seconds=ROUND_S, accept=kind.accept)
    assert not result.failed
    return result.processor_us


def _compare(
    times: dict[str, list[float]], kind: str, goal: float, text: str, *, than: str = "plain"
) -> BenchmarkResult:
    """Compare a kind of request with the kind ``than``, by the median over rounds with its quartiles."""
    ratios = [value / own for value, own in zip(times[kind], times[than], strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4)
    us, own_us, plain_us = (statistics.median(times[name]) for name in (kind, than, "plain"))
    reference = f"processor time of a request, {text}: {us:.0f} us; of a plain one: {plain_us:.0f} us"
    if than != "plain":
        reference += f"; of the same one in JSON without reasons: {own_us:.0f} us; the ratio is to the last"
    return at_most(f"{kind}_ratio", median, "ratio", goal, reference=reference, interval=(low, high))


@benchmark("under_age_movies", full=True)
def age_rule() -> Iterable[BenchmarkResult]:
    """Make lists for random ages, rules, users and releases, and count movies above the age or without a rating."""
    started = time.process_time()
    engines = [load_release(movies, seed) for seed, movies in enumerate(_AGED_MOVIES)]
    shown, wrong = count_under_age(engines, LISTS)
    reference = (
        f"movies above the age or unrated, among {shown:,} movies of {LISTS:,} lists of random rules, users and "
        f"releases: policies, and models of {', '.join(f'{movies:,}' for movies in _AGED_MOVIES)} movies; "
        f"{time.process_time() - started:.0f} s of processor time"
    )
    yield at_most("under_age_movies", wrong, "movies", 0, reference=reference)


def load_release(movies: int, seed: int) -> Engine:
    """Return the engine of a random model of a few users."""
    objects = FileStore(scratch() / f"age-rule-{movies}-{seed}")
    model = random_model(_AGED_USERS, 32, movies=movies, seed=seed)
    engine = Engine.load(objects, write_artifact(objects, model, trained_through=_NOW))
    engine.prepare()
    return engine


def count_under_age(engines: Sequence[Engine], lists: int, seed: int = 20260101) -> tuple[int, int]:
    """Return the number of movies of random lists, and of those among them that break the age rule."""
    rng = np.random.default_rng(seed)
    ages = [np.array(engine.item_factors.metadata.ages) for engine in engines]
    states = [
        [build_user_state(one.item_factors, one.read_record(str(user)), None) for user in range(_AGED_USERS)] + [EMPTY]
        for one in engines
    ]
    shown = wrong = 0
    for number in range(lists):
        # Mostly the first, smallest release: the rule does not depend on the size, and the time does.
        release, age = int(rng.random() ** 10 * len(engines)), int(rng.integers(0, 18))
        request, policy = _draw_request(rng), _draw_policy(rng, engines[release].item_factors.movie_ids)
        rules = limit_age(request.rules, age)
        context = ListContext(_EXPLORATION, ListRandom(number).random, policy=policy, rules=rules, now=_NOW)
        state = states[release][rng.integers(len(states[release]))]
        own = ages[release][engines[release].make_list(state, request, context).rows]
        wrong += int(np.count_nonzero((own > age) | (own < 0) & (not policy.unknown_age_passes)))
        shown += len(own)
    return shown, wrong


def _draw_request(rng: np.random.Generator) -> ListRequest:
    rules: dict[str, Any] = {
        "max_age": int(rng.integers(0, 100)),
        "languages": (("en", "fr", "de", "hi")[rng.integers(4)],),
        "genres": (f"genre {rng.integers(19)}",),
        "year_min": int(rng.integers(1950, 2000)),
        "max_cost": float(rng.random()),
    }
    asked = Rules(**{name: value for name, value in rules.items() if rng.random() < 0.3})
    return ListRequest(n=int(rng.integers(1, 101)), rules=asked, diversity=0.5 * (rng.random() < 0.1))


def _draw_policy(rng: np.random.Generator, movie_ids: Sequence[str]) -> Policy:
    one, other = (movie_ids[row] for row in rng.integers(len(movie_ids), size=2))
    return Policy(
        unknown_age_passes=bool(rng.random() < 0.2),
        unavailable=(one,) if rng.random() < 0.3 else (),
        pins=(Pin(other, int(rng.integers(1, 20))),) if rng.random() < 0.3 else (),
        quotas=(Quota("country", ("fr",), 0.5),) if rng.random() < 0.2 else (),
        cost_weight=float(rng.random() < 0.2),
    )
