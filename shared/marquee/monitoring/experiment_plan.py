"""Plan of an experiment from past data: time to detect each effect, and an A/A test of the metrics.

The past gives the variance of each metric over users, and how it falls with time: from the whole past and its first
half, quarter and eighth. Lasting differences between users do not average out, so that twice the days bring less than
twice the information.
At the top share of the ladder, an estimate reaches after some days the information with which half of all experiments
exclude the margin (if there is no harm), or find the declared effect. The ramp to the top share comes on top of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.db.pool import Database
from marquee.experiments.declaration import Declaration, Margin
from marquee.experiments.harm_metrics import METRICS
from marquee.experiments.ratio_estimates import MIN_USERS, Estimate, difference, ratio, sum_users
from marquee.experiments.sequences import ALPHA, one_sided_radius, two_sided_radius, z_score
from marquee.monitoring.exposures import SESSION_GAP, SHOWN_WINDOW, begun_window

DEADLINE_MS = 120_000
MAX_USERS = 200_000
PARTS = (0.125, 0.25, 0.5, 1.0)
"""Fractions of the past, from its beginning, at whose ends the variance is known."""
SPLITS = 200
_PATHS = 2_000
_MIN_FALL = 0.3
"""Least exponent by which the variance falls with time within the past; without lasting differences it is 1."""
_SEED = 20260302
_FIXED_Z = 1.96

_PAST = """
WITH asked AS (
    SELECT user_id, time, movie_ids, status = 200 AND response_ms <= %(timeout_ms)s AS answered,
           response_ms > %(timeout_ms)s OR status <> 200 AND response_ms = %(timeout_ms)s AS late
    FROM recommendation_requests WHERE time >= %(since)s AND time < %(until)s
), lists AS (
    SELECT user_id, time, movie_ids FROM (
        SELECT *, time - lag(time) OVER (PARTITION BY user_id ORDER BY time) AS pause FROM asked WHERE answered) AS a
    WHERE pause IS NULL OR pause > %(gap)s
), begun AS (
    SELECT l.user_id, count(*) AS lists, sum(w.watched) AS watched FROM lists AS l CROSS JOIN LATERAL (
        SELECT count(*) AS watched FROM watch_sessions AS s
        WHERE s.user_id = l.user_id AND s.movie_id = ANY (l.movie_ids)
          AND s.started >= l.time AND s.started < l.time + %(window)s) AS w
    GROUP BY l.user_id
), users AS (
    SELECT user_id, count(*) AS asks, count(*) FILTER (WHERE NOT answered) AS bad, count(*) FILTER (WHERE late) AS late,
           min(time) AS first
    FROM asked GROUP BY user_id ORDER BY md5(user_id) LIMIT %(most)s
)
SELECT u.asks::float8, u.bad::float8, u.late::float8, coalesce(b.lists, 0)::float8, coalesce(b.watched, 0)::float8,
       coalesce(m.minutes, 0)::float8, coalesce(m.all_minutes, 0)::float8,
       extract(epoch FROM %(until)s - u.first)::float8 / 86400
FROM users AS u LEFT JOIN begun AS b USING (user_id) CROSS JOIN LATERAL (
    SELECT sum(s.last_minute - s.first_minute + 1) AS all_minutes,
           sum(s.last_minute - s.first_minute + 1) FILTER (WHERE s.started <= shown.first + %(shown_window)s) AS minutes
    FROM watch_sessions AS s CROSS JOIN LATERAL (
        SELECT min(time) AS first FROM recommendation_requests AS r
        WHERE r.user_id = s.user_id AND r.time >= %(since)s AND r.time <= s.started
          AND r.movie_ids @> ARRAY[s.movie_id]) AS shown
    WHERE s.user_id = u.user_id AND s.started >= u.first AND s.started < %(until)s) AS m"""
_COLUMNS = ("asks", "bad", "late", "lists", "watched", "minutes", "all_minutes", "days")
_RATIOS = {
    "answered": ("bad", "asks"),
    "late": ("late", "asks"),
    "watched": ("watched", "lists"),
    "minutes": ("minutes", "days"),
    "all_minutes": ("all_minutes", "days"),
    "asks": ("asks", "days"),
}

_RATINGS = "SELECT count(*) FROM ratings WHERE time >= %(since)s AND time < %(until)s"


Past = dict[str, NDArray[np.float64]]
"""Column of the query -> values of the users [users]."""


class MetricPlan(msgspec.Struct, frozen=True):
    """A metric on past data, and the days at the top share until its decision; None if the data do not suffice.

    ``beyond`` and ``largest`` are of an A/A test on the past: the fraction of random halves beyond 1.96 standard
    errors, which is 0.05 of a sound metric, and the largest number of standard errors.
    """

    metric: str
    role: str
    value: float | None
    size: float | None
    days: float | None
    beyond: float | None
    largest: float | None


class ExperimentPlan(msgspec.Struct, frozen=True):
    """Plan of an experiment: its users and its metrics."""

    experiment: str
    days_of_past: int
    users: int
    share: float
    ratings_a_day: float
    metrics: tuple[MetricPlan, ...]

    def lines(self) -> Iterator[str]:
        """Yield the plan as text."""
        yield f"{self.experiment}: {self.users:,} users asked in the last {self.days_of_past} days"
        yield f"at a share of {self.share:g} of each new arm:"
        for one in self.metrics:
            yield f"  {one.metric:11} {one.role}: {_describe(one)}"
        yield f"paired metrics use all users: {self.ratings_a_day:,.0f} ratings a day"
        tested = [one for one in self.metrics if one.beyond is not None]
        for one in tested:
            yield f"A/A of {SPLITS} halves of the past, {one.metric}: {one.beyond:.1%} beyond {_FIXED_Z} errors"


def plan_experiment(
    database: Database, declaration: Declaration, now: datetime, days: int, caller_timeout_ms: int
) -> ExperimentPlan:
    """Return the plan from the last ``days`` days before ``now``."""
    parameters = {
        "since": now - timedelta(days=days),
        "until": now,
        "window": begun_window(declaration),
        "shown_window": SHOWN_WINDOW,
        "gap": SESSION_GAP,
        "timeout_ms": caller_timeout_ms,
        "most": MAX_USERS,
    }
    ends = [now - timedelta(days=days) * (1 - part) for part in PARTS]
    pasts = [_read_past(database, parameters | {"until": end}) for end in ends]
    ((ratings,),) = database.read(_RATINGS, parameters, deadline_ms=DEADLINE_MS)
    sizes = [(name, "guardrail", rail.margin) for name, rail in declaration.guardrails.items()]
    if declaration.primary:
        sizes.append((declaration.primary.metric, "primary", declaration.primary.effect))
    alpha, share = ALPHA / len(declaration.treatments), declaration.ladder[-1]
    return ExperimentPlan(
        experiment=declaration.name,
        days_of_past=days,
        users=len(pasts[-1]["asks"]),
        share=share,
        ratings_a_day=ratings / days,
        metrics=tuple(plan_metric(pasts, name, role, size, days, share, alpha) for name, role, size in sizes),
    )


def plan_metric(
    pasts: Sequence[Past], name: str, role: str, size: Margin, days: float, share: float, alpha: float = ALPHA
) -> MetricPlan:
    """Return the plan of one metric from the users of the first :data:`PARTS` of the past."""
    if name == "preferred":
        return _plan_preference(pasts, size, days, share, alpha)
    if METRICS[name].kind == "paired" or name not in _RATIOS:
        return MetricPlan(name, role, None, size.value if not size.relative else None, None, None, None)
    past, estimates = pasts[-1], [_estimate(users, name) for users in pasts]
    whole = estimates[-1]
    value = float(whole.value)
    absolute = size.value * value if size.relative else size.value
    y, x = (past[column] for column in _RATIOS[name])
    if not np.isfinite(whole.variance) or absolute <= 0 or np.count_nonzero(x > 0) < 2 * MIN_USERS:
        return MetricPlan(name, role, value, absolute or None, None, None, None)
    # Half of alpha is spent on the sequence of the primary metric.
    primary = role == "primary"
    needed = _median_information(alpha / 2 if primary else alpha, two_sided=primary) / absolute**2
    # Both arms have `share` of the users.
    planned = days * _duration([float(one.variance) for one in estimates], share / (2 * needed))
    beyond, largest = _test_equal_arms(y, x)
    return MetricPlan(name, role, value, absolute, planned, beyond, largest)


def _plan_preference(pasts: Sequence[Past], size: Margin, days: float, share: float, alpha: float) -> MetricPlan:
    """Plan the preference of an interleaving. Without one, each movie begun is of either team with equal chances."""
    rng = np.random.default_rng(_SEED)
    estimates = [
        ratio(sum_users(2 * rng.binomial(p["watched"].astype(int), 0.5) - p["watched"], p["lists"])) for p in pasts
    ]
    per_list = float(ratio(sum_users(pasts[-1]["watched"], pasts[-1]["lists"])).value)
    absolute = size.value * per_list if size.relative else size.value
    if not np.isfinite(estimates[-1].variance) or absolute <= 0:
        return MetricPlan("preferred", "primary", per_list, absolute or None, None, None, None)
    # One sample of the users of both arms.
    needed = _median_information(alpha / 2, two_sided=True) / absolute**2
    planned = days * _duration([float(one.variance) for one in estimates], 2 * share / needed)
    return MetricPlan("preferred", "primary", per_list, absolute, planned, None, None)


def _read_past(database: Database, parameters: Mapping[str, object]) -> Past:
    rows = database.read(_PAST, parameters, deadline_ms=DEADLINE_MS)
    return dict(zip(_COLUMNS, np.array(rows, float).reshape(-1, len(_COLUMNS)).T, strict=True))


def _estimate(users: Past, name: str) -> Estimate:
    y, x = (users[column] for column in _RATIOS[name])
    return ratio(sum_users(y, x) + (1.0 if METRICS[name].kind == "coin" else 0.0))  # As in an assessment: one failure.


def _duration(variances: Sequence[float], wanted: float) -> float:
    """Return when the variance is ``wanted``, as a multiple of the past; infinite if these users never bring it.

    Within the past, ``variances`` of its :data:`PARTS` are interpolated on logarithmic scales. After it the variance is
    ``lasting + falling / time``, through the last two.
    """
    known = [(part, one) for part, one in zip(PARTS, variances, strict=True) if math.isfinite(one) and one > 0]
    whole = known[-1][1]
    if wanted < whole or len(known) == 1:
        falling = min(max(known[-2][1] - whole, 0.0), whole) if len(known) > 1 else whole
        lasting = whole - falling
        return falling / (wanted - lasting) if wanted > lasting else math.inf
    pairs = list(pairwise(known))
    (early, high), (late, low) = next((pair for pair in reversed(pairs) if wanted <= pair[0][1]), pairs[0])
    fall = min(max(-math.log(low / high) / math.log(late / early), _MIN_FALL), 1.0)
    return late * math.exp(math.log(low / wanted) / fall)


@lru_cache(16)
def _median_information(alpha: float, *, two_sided: bool) -> float:
    """Return the median information, in units of 1 / size^2, at which the sequence tuned to the size finds it."""
    grid = np.geomspace(0.3, 300, 400)
    steps = np.random.default_rng(_SEED).standard_normal((_PATHS, len(grid))) * np.sqrt(np.diff(grid, prepend=0))
    radius = two_sided_radius(grid, 1.0, alpha) if two_sided else one_sided_radius(grid, 1.0, alpha)
    found = 1 + steps.cumsum(1) / grid > radius
    return float(np.median(grid[found.argmax(1)]))


def _test_equal_arms(y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[float, float]:
    """Return the fraction of random halves beyond 1.96 standard errors, and the largest difference in these."""
    rng = np.random.default_rng(_SEED)
    scores = []
    for _ in range(SPLITS):
        half = rng.random(len(y)) < 0.5
        scores.append(abs(float(z_score(difference(sum_users(y[half], x[half]), sum_users(y[~half], x[~half]))))))
    return float(np.mean(np.array(scores) > _FIXED_Z)), max(scores)


def _describe(one: MetricPlan) -> str:
    if one.value is None:
        return "paired, both models on every event; no estimate before both exist"
    if one.days is None or one.size is None:
        return f"{one.value:.4g}; the past has too little data for an estimate"
    if math.isinf(one.days):
        return f"{one.value:.4g}, these users never decide about {one.size:.4g}, however long it runs"
    verb = "finds an effect" if one.role == "primary" else "excludes a harm"
    return f"{one.value:.4g}, {verb} of {one.size:.4g} after about {one.days:.3g} days"
