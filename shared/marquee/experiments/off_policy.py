"""Off-policy estimates: expected outcomes of another ranker's lists, estimated from logged lists.

The estimator weights each shown movie separately, under the position-based model of Li et al., *Offline Evaluation of
Ranking Policies with Click Models*, KDD 2018. A movie that the target ranker X puts at position k gets the weight
``examination(k) / sum over j of examination(j) P(movie at j)``. The probabilities P follow from the log: the movie's
rank before exploration, the number of movies that could have been drawn, and the exploration policy. An estimate that
the logged lists do not support is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.experiments.ratio_estimates import Estimate, Floats, ratio, sum_users
from marquee.experiments.sequences import ALPHA, two_sided_radius

MIN_SUPPORT = 0.95
"""Minimum share of the target's examination on movies that exploration can show."""
EFFECT = 0.05
"""Effect to which the confidence sequence is tuned, as a fraction of the observed rate."""
Ints = NDArray[np.int_]


class LoggedLists(NamedTuple):
    """Lists of n movies as they were shown, and the target ranker X's positions. Ranks and positions count from 1.

    - ``rank``: rank before exploration of the movie shown at each position, 0 for an empty position
    - ``outcome``: outcome of each shown movie, for example 1 if it was begun
    - ``eligible``: number of movies that a uniform draw could show
    - ``share``, ``tail``, ``pool``: exploration policy (fraction of uniform lists, random positions, candidates)
    - ``target``: X's position of each shown movie, 0 if X does not show it
    - ``support``: rank before exploration of the movie that X puts at each position
    """

    user: Ints  # [n_lists]
    rank: Ints  # [n_lists, n]
    outcome: Floats  # [n_lists, n]
    eligible: Ints  # [n_lists]
    share: Floats  # [n_lists]
    tail: Ints  # [n_lists]
    pool: Ints  # [n_lists]
    target: Ints  # [n_lists, n]
    support: Ints  # [n_lists, n]

    def take_first(self, count: int) -> LoggedLists:
        """Return the first ``count`` lists, which are the data of an earlier look."""
        return LoggedLists._make(field[:count] for field in self)


class OffPolicyEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated outcomes per list of the target ranker, with a confidence sequence; or a refusal.

    - ``low``, ``high``: bounds that include the part without support, if its movies suit users at most as well as
      the others
    - ``inclusion``: estimate under equal examination of all positions, as a check of the model
    - ``balance``: mean weight of the shown movies, which should be 1
    - ``effective``: effective sample size, in movies; ``largest``: largest weight
    """

    value: float
    low: float
    high: float
    error: float
    observed: float
    inclusion: float
    balance: float
    balance_error: float
    support: float
    effective: float
    largest: float
    lists: int
    users: int
    refusal: str = ""


def estimate_target(
    lists: LoggedLists, examination: Floats, deviations: Sequence[Floats] = (), alpha: float = ALPHA
) -> OffPolicyEstimate:
    """Return the estimate for the target's lists without exploration; ``examination`` [n] is relative, by position.

    ``deviations`` are the curves of ``ExaminationCurve.deviate``, by which the error of the fit widens the interval.
    """
    weights = weigh_movies(lists, examination)
    flat = np.ones_like(examination)
    inclusion = weigh_movies(lists, flat)
    support = measure_support(lists, examination)
    mean = _cluster(lists, (weights * lists.outcome).sum(1))
    moved = [float((weigh_movies(lists, curve) * lists.outcome).sum(1).mean()) for curve in deviations]
    mean = Estimate(mean.value, mean.variance + sum((one - float(mean.value)) ** 2 for one in moved))
    observed = float(lists.outcome.sum(1).mean())
    # The expected sum of a list's inclusion weights is the number of supported movies in X's list, whatever users do.
    included = _cluster(lists, inclusion.sum(1))
    expected = measure_support(lists, flat) * lists.rank.shape[1]
    value, radius = float(mean.value), float(two_sided_radius(mean.information, EFFECT * max(observed, 1e-12), alpha))
    missing = value * (1 - support) / support if support else np.inf
    return OffPolicyEstimate(
        value=value + missing / 2,
        low=value - radius,
        high=value + missing + radius,
        error=_error(mean),
        observed=observed,
        inclusion=float(_cluster(lists, (inclusion * lists.outcome).sum(1)).value),
        balance=float(included.value) / expected if expected else np.nan,
        balance_error=_error(included) / expected if expected else np.inf,
        support=support,
        effective=float(weights.sum() ** 2 / max((weights**2).sum(), 1e-300)),
        largest=float(weights.max(initial=0)),
        lists=len(lists.user),
        users=len(np.unique(lists.user)),
        refusal=_refuse(support, mean),
    )


def weigh_movies(lists: LoggedLists, examination: Floats) -> Floats:
    """Return the weight of each shown movie [n_lists, n]; 0 if X does not show it, or outside the support.

    Only uniform lists show movies outside the support. Their weight would be the number of movies divided by ``share``,
    so that a single list could dominate the estimate.
    """
    shown = expected_examination(lists, examination)
    wanted = np.append(0.0, examination)[lists.target]
    supported = (lists.rank > 0) & (lists.rank <= _reach(lists, len(examination)))
    return np.where(supported, wanted / np.where(supported, shown, 1.0), 0.0)


def expected_examination(lists: LoggedLists, examination: Floats) -> Floats:
    """Return ``sum over j of examination(j) P(movie at j)`` under the logging policy, [n_lists, n]."""
    n = len(examination)
    total = np.append(0.0, np.cumsum(examination))
    fixed = n - lists.tail[:, None]
    drawn = (total[n] - total[fixed]) / np.maximum(_reach(lists, n) - fixed, 1)
    ranked = np.where(lists.rank <= fixed, np.append(0.0, examination)[np.minimum(lists.rank, n)], drawn)
    ranked = np.where(lists.rank <= _reach(lists, n), ranked, 0.0)
    share = lists.share[:, None]
    return np.asarray(share / np.maximum(lists.eligible[:, None], 1) * total[n] + (1 - share) * ranked)


def measure_support(lists: LoggedLists, examination: Floats) -> float:
    """Return the share of the target's examination on movies that non-uniform lists can show."""
    inside = (lists.support > 0) & (lists.support <= _reach(lists, len(examination)))
    return float((inside * examination).sum() / (len(inside) * examination.sum())) if len(inside) else 0.0


def _reach(lists: LoggedLists, n: int) -> Ints:
    """Return the lowest rank that exploration can show [n_lists, 1]."""
    reach = np.where(lists.tail > 0, n - lists.tail + lists.pool, n)
    return np.minimum(reach, lists.eligible)[:, None]


def _cluster(lists: LoggedLists, values: Floats) -> Estimate:
    """Return the mean of values [n_lists] with the variance of users as clusters."""
    _, user = np.unique(lists.user, return_inverse=True)
    return ratio(sum_users(np.bincount(user, values), np.bincount(user)))


def _error(estimate: Estimate) -> float:
    return float(np.sqrt(estimate.variance))


def _refuse(support: float, mean: Estimate) -> str:
    if support < MIN_SUPPORT:
        return (
            f"no estimate: exploration shows {support:.1%} of the other ranker's lists, at least {MIN_SUPPORT:.0%} is "
            "needed; run an interleaving"
        )
    return "" if float(mean.information) else "no estimate: at least 50 users with different outcomes are needed"
