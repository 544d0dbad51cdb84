"""Simulated canary: users, looks at their data, and the decisions of the real controller.

The share of each run follows :func:`marquee.experiments.decision.decide`, which is called every five minutes. As in
production, one hash decides if a user takes part and another one selects the arm.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiment_users import BEGUN_PER_LIST, Customers, Ints, UserPool
from marquee.experiments.decision import ExperimentDecision, decide
from marquee.experiments.declaration import Declaration, parse_declaration
from marquee.experiments.look import Look, ReleaseState
from marquee.experiments.ratio_estimates import Floats

CANARY = parse_declaration("canary", {"kind": "canary"})
CUSTOMERS = 100_000
LISTS_PER_MIN, RATINGS_PER_MIN = 140, 35
LOOK_MIN = 5
BACKLOG_MIN = 15
_WINDOW_LOOKS = 12  # The window of `watched` is 60 minutes.
_START = datetime(2026, 3, 1, tzinfo=UTC)
_FAILING = 0.001  # Requests that fail in a sound arm.
_CONTROL, _NEW = "control", "canary"
_PREDICTION_NOISE = 0.2  # Difference of two models' predictions, in units of their RMSE.


@dataclass(frozen=True, slots=True)
class Fault:
    """The defect of the new arm: RMSE and movies begun relative to control, and additional failing requests."""

    rmse: float = 1.0
    begun: float = 1.0
    failing: float = 0.0


@dataclass(frozen=True, slots=True)
class CanaryOutcome:
    """The end of a run: its action, minutes from the start, and the fraction of customers who saw the new arm.

    ``within_margin``: at every step up, the share times the upper bound of harm was within each margin.
    """

    action: str
    minutes: float
    exposed: float
    within_margin: bool


def run_canary(
    pool: UserPool, fault: Fault, seed: int, *, customers: int = CUSTOMERS, declaration: Declaration = CANARY
) -> CanaryOutcome:
    """Run one canary until the controller ends it."""
    rng = np.random.default_rng(seed)
    traffic = CanaryTraffic(Customers.draw(pool, rng, customers), fault, rng)
    state = ReleaseState(
        number=1, experiment=declaration.name, share=declaration.ladder[0], since=_START, started=_START
    )
    within = True
    for look in range(1, 400):
        now = _START + timedelta(minutes=look * LOOK_MIN)
        traffic.advance(state.share)
        decision = decide(declaration, traffic.take_look(declaration, state.number, now), state, now)
        if decision.action == "step":
            within &= _is_within_margin(decision)
            state = ReleaseState(
                number=state.number + 1, experiment=state.experiment, share=decision.share, since=now, started=_START
            )
        if decision.action in ("promote", "back", "end"):
            return CanaryOutcome(decision.action, look * LOOK_MIN, traffic.exposed, within)
    raise AssertionError("the controller never ended the canary")


def _is_within_margin(decision: ExperimentDecision) -> bool:
    return all(
        one.margin is not None and decision.share * one.harm_high <= one.margin
        for arm in decision.arms
        for one in arm.guardrails
        if one.verdict != "silent"
    )


class RunningSums:
    """Sums over users that follow new observations, as an upsert of user-hours would give."""

    def __init__(self, users: int) -> None:
        self._y, self._x = np.zeros(users), np.zeros(users)
        self.sums = np.zeros(6)

    def add(self, user: Ints, y: Floats, x: Floats) -> None:
        """Add observations [n] of users [n]; a user may occur several times."""
        if not len(user):
            return
        seen, index = np.unique(user, return_inverse=True)
        dy, dx = np.bincount(index, y), np.bincount(index, x)
        old_y, old_x = self._y[seen], self._x[seen]
        new_y, new_x = old_y + dy, old_x + dx
        self.sums += [
            np.count_nonzero((old_x == 0) & (new_x > 0)),
            dy.sum(),
            dx.sum(),
            (new_y**2 - old_y**2).sum(),
            (new_y * new_x - old_y * old_x).sum(),
            (new_x**2 - old_x**2).sum(),
        ]
        self._y[seen], self._x[seen] = new_y, new_x


class CanaryTraffic:
    """Requests, lists and ratings of a population, five minutes at a time."""

    def __init__(self, customers: Customers, fault: Fault, rng: np.random.Generator) -> None:
        size = len(customers.real)
        self._customers, self._fault, self._rng = customers, fault, rng
        self._enrolment, self._new = rng.random(size), rng.random(size) < 0.5
        self._asked, self._failed = np.zeros(size, bool), np.zeros(size, bool)
        self._requests, self._lists = ((RunningSums(size), RunningSums(size)) for _ in range(2))
        self._ratings = RunningSums(size)
        self._open: deque[tuple[Ints, Floats]] = deque()
        self.share = 0.0
        self._rate_movies(BACKLOG_MIN)

    @property
    def exposed(self) -> float:
        """Return the fraction of the users who requested a list while assigned to the new arm."""
        return float((self._asked & self._new).mean())

    def advance(self, share: float) -> None:
        """Serve for five minutes with ``share`` of the customers in the new arm."""
        rng, self.share = self._rng, share
        asking = self._customers.draw_active(rng, int(rng.poisson(LISTS_PER_MIN * LOOK_MIN)))
        user = asking[self._enrolment[asking] < 2 * share]
        new = self._new[user]
        self._asked[user] = True
        failed = rng.random(len(user)) < _FAILING + self._fault.failing * new
        self._failed[user[failed]] = True
        self._add(self._requests, user, failed.astype(float))
        rate = BEGUN_PER_LIST * self._customers.taste[user] * np.where(new, self._fault.begun, 1.0) * ~failed
        self._open.append((user, rng.poisson(rate).astype(float)))
        if len(self._open) > _WINDOW_LOOKS:
            self._add(self._lists, *self._open.popleft())
        self._rate_movies(LOOK_MIN)

    def take_look(self, declaration: Declaration, release: int, now: datetime) -> Look:
        """Return the look at the data so far."""
        arms = (_CONTROL, _NEW)
        users = self._count(self._asked)
        return Look(
            experiment=declaration.name,
            release=release,
            as_of=now,
            newest=dict.fromkeys(arms, now),
            recent=dict.fromkeys(arms, 1),
            sums={
                "answered": _by_arm(self._requests),
                "watched": _by_arm(self._lists),
                "rates": {_NEW: tuple(self._ratings.sums.tolist())},
            },
            baselines={"rates": self._customers.pool.mean_squared_error, "watched": BEGUN_PER_LIST},
            failed=self._count(self._failed),
            users=users,
            impressed=users,
        )

    def _rate_movies(self, minutes: float) -> None:
        """Predict the ratings of all customers with both models."""
        rng = self._rng
        user = self._customers.draw_active(rng, int(rng.poisson(RATINGS_PER_MIN * minutes)))
        old = self._customers.pool.draw_errors(rng, self._customers.real[user])
        self.record_errors(user, old, other_errors(rng, old, self._fault.rmse))

    def record_errors(self, user: Ints, old: Floats, new: Floats) -> None:
        """Add the differences of squared errors."""
        self._ratings.add(user, new**2 - old**2, np.ones(len(user)))

    def _add(self, sums: tuple[RunningSums, RunningSums], user: Ints, y: Floats) -> None:
        new = self._new[user]
        for arm, mask in enumerate((~new, new)):
            sums[arm].add(user[mask], y[mask], np.ones(int(mask.sum())))

    def _count(self, marked: NDArray[np.bool_]) -> dict[str, int]:
        new = int((marked & self._new).sum())
        return {_CONTROL: int(marked.sum()) - new, _NEW: new}


def other_errors(rng: np.random.Generator, errors: Floats, rmse: float) -> Floats:
    """Return the errors of another model on the same ratings, with ``rmse`` times the RMSE on average.

    Its predictions differ by independent noise, and by a part of the error that makes up for the noise.
    """
    scale = float(np.sqrt((errors**2).mean())) if len(errors) else 1.0
    # (1 - k)^2 + noise^2 = rmse^2
    noise = max(_PREDICTION_NOISE, np.sqrt(max(rmse**2 - 1, 0)))
    shrink = 1 - np.sqrt(max(rmse**2 - noise**2, 0))
    return np.asarray((1 - shrink) * errors + noise * scale * rng.standard_normal(len(errors)))


def _by_arm(sums: tuple[RunningSums, RunningSums]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(one.sums.tolist()) for name, one in zip((_CONTROL, _NEW), sums, strict=True)}
