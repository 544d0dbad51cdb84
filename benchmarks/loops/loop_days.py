"""Simulated days: lists from the serving engine, choices from known tastes, and a retraining each night."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.loops.loop_log import LoopLog, day_time, movie_id
from benchmarks.loops.loop_measures import BEGUN, LoopRun, judge_lists, judge_tastes
from benchmarks.loops.loop_variants import LoopVariant
from benchmarks.loops.loop_world import LENGTH, Floats, Ints, LoopWorld, WorldSize, examine, make_world
from marquee.data.dataset import Dataset
from marquee.registry.artifact import write_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.policy import Policy
from marquee.scoring.list_random import ListRandom
from marquee.serving.engine import Engine
from marquee.serving.list_builder import ListContext
from marquee.serving.list_request import ListRequest
from marquee.serving.user_state import build_user_state
from marquee.training.params import Params
from marquee.training.pipeline.tune_step import TUNED_RANKER, tune_ranker
from marquee.training.train_model import train_model
from marquee.training.tuning import NOTHING_CHOSEN

_MAX_SHARE = 0.95  # Upper limit of the probability that a user visits on one day.
_SHORT_FIT = {"sweeps": 4, "burn_in": 1, "factors": 15, "served_rank": 8, "feature_rank": 4}
"""Parameters of a short fit of the rating model, because lists do not depend on it."""


@dataclass(frozen=True, slots=True)
class LoopStart:
    """A world and the ranker parameters tuned on its history; all variants of a seed start from it."""

    world: LoopWorld
    chosen: Mapping[str, float]


def make_start(size: WorldSize, seed: int, params: Params) -> LoopStart:
    """Draw users and movies from ``seed``, and tune the ranker on its history as a retraining does."""
    world = make_world(size, seed)
    if params.ranker != TUNED_RANKER:
        return LoopStart(world, {})
    choice = NOTHING_CHOSEN
    if params.tuning.budget_s:
        choice = tune_ranker(_open_log(world).to_dataset(), params)
    return LoopStart(world, choice.chosen)


def simulate_days(start: LoopStart, variant: LoopVariant, params: Params) -> LoopRun:
    """Simulate the days of one variant; equal arguments give equal runs.

    A user gets at most one list a day, so what they watch changes their list on the next day at the earliest.
    """
    world = start.world
    log, tastes = _open_log(world), world.tastes.copy()
    trainers = {**params.trainers, "bpmf": _SHORT_FIT}
    fast = msgspec.structs.replace(params, engine="local", trainer="bpmf", trainers=trainers)
    days: dict[str, list[float]] = {}
    groups: dict[str, list[float]] = {name: [] for name in world.groups()}
    digest = ""
    for day in range(1, world.size.days + 1):
        data = log.to_dataset()
        digest = digest or data.sha256()
        with tempfile.TemporaryDirectory(prefix="marquee-loops-") as directory:
            server = _NightlyModel(data, start, variant, fast, day, FileStore(Path(directory)))
            measured, by_group = _live_day(world, log, tastes, server, day)
        for name, value in measured.items():
            days.setdefault(name, []).append(value)
        for name, value in by_group.items():
            groups[name].append(value)
    return LoopRun(variant.name, world.seed, days, groups, digest)


def _open_log(world: LoopWorld) -> LoopLog:
    """Return the log before the first day: movies that users found without recommendations."""
    log = LoopLog(world)
    for day in range(-world.size.history_days, 1):
        _begin_outside(world, log, world.tastes.copy(), day, drift=0.0)
    return log


def _live_day(
    world: LoopWorld, log: LoopLog, tastes: Floats, server: _NightlyModel, day: int
) -> tuple[dict[str, float], dict[str, float]]:
    rng = np.random.default_rng([world.seed, day, 2])
    visits = rng.random(world.size.users) < np.minimum(world.size.visits * world.activity, _MAX_SHARE)
    looks = rng.random((world.size.users, LENGTH)) < examine(world.size)
    suits = rng.random(log.seen.shape) < world.suit(tastes)
    users = np.flatnonzero(visits)
    lists = np.array([server.make_list(user) for user in users.tolist()])
    measured, quality = judge_lists(world, tastes, users, lists, log.seen, day)
    begun = looks[users] & np.take_along_axis(suits[users], lists, 1) & ~np.take_along_axis(log.seen[users], lists, 1)
    rows, positions = begun.nonzero()
    _begin(world, log, tastes, (users[rows], lists[rows, positions]), day, world.size.drift)
    _begin_outside(world, log, tastes, day, world.size.drift)
    measured[BEGUN] = float(begun.sum() / len(users))
    by_group = {name: float(np.nanmean(quality[members[users]])) for name, members in world.groups().items()}
    return measured | judge_tastes(world.tastes, tastes), by_group


def _begin_outside(world: LoopWorld, log: LoopLog, tastes: Floats, day: int, drift: float) -> None:
    found = world.draw_outside(tastes, log.seen, day, world.size.outside, 3)
    users = np.repeat(np.arange(world.size.users), [len(own) for own in found])
    _begin(world, log, tastes, (users, np.concatenate(found)), day, drift)


def _begin(world: LoopWorld, log: LoopLog, tastes: Floats, pairs: tuple[Ints, Ints], day: int, drift: float) -> None:
    """Log the movies begun, given as ``pairs`` of user and item rows, and move their users' ``tastes`` in place."""
    users, items = pairs
    if not len(users):
        return
    log.add(users, items, day, world.suit(tastes)[users, items])
    if drift:
        moved = np.zeros_like(tastes)
        np.add.at(moved, users, world.styles[items] - tastes[users])
        tastes += drift * moved
        tastes /= np.linalg.norm(tastes, axis=1, keepdims=True)


class _NightlyModel:
    """The model trained in one night, served by the engine."""

    def __init__(
        self, data: Dataset, start: LoopStart, variant: LoopVariant, params: Params, day: int, store: FileStore
    ) -> None:
        model = train_model(data, params, chosen={**start.chosen, **variant.parameters})
        self._engine = Engine.load(store, write_artifact(store, model, trained_through=day_time(day)))
        self._engine.prepare()
        hidden = np.flatnonzero(start.world.released > day).tolist()
        self._policy = Policy(unavailable=tuple(movie_id(item) for item in hidden))
        self._request = ListRequest(n=LENGTH, diversity=variant.diversity)
        self._variant, self._seed, self._day = variant, start.world.seed, day

    def make_list(self, user: int) -> Ints:
        """Return the items of the list of ``user``, best first, [LENGTH]."""
        engine = self._engine
        state = build_user_state(engine.item_factors, engine.read_record(str(user)), None)
        random = ListRandom((self._seed << 80) | (self._day << 40) | user).random
        context = ListContext(self._variant.exploration, random, policy=self._policy, now=day_time(self._day))
        rows = np.array(engine.make_list(state, self._request, context).rows, np.int64)
        return rows
