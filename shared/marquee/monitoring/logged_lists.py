"""Off-policy estimate of a model or a policy from logged lists.

Each list is replayed twice without exploration: by the model that served, which must reproduce the logged ranks, and
by the target. Outcomes are movies begun within a window after the list. The estimator is in
:mod:`marquee.experiments.off_policy`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from marquee.db.past_history import LoggedOutcome
from marquee.errors import ArtifactRefused, ReleaseError
from marquee.events.batches import Impression
from marquee.experiments.examination import chances_of_arms, chances_of_exploration, fit_examination
from marquee.experiments.off_policy import LoggedLists, OffPolicyEstimate, estimate_target
from marquee.experiments.ratio_estimates import Floats
from marquee.registry.arm_assignment import OUTSIDE
from marquee.registry.policy import Policy
from marquee.serving.exploration import Exploration
from marquee.serving.list_inputs import read_exploration
from marquee.serving.list_replay import Replayer, name_failure
from marquee.serving.list_request import LIST_LENGTH
from marquee.serving.policy_rules import choose_exploration

MAX_OTHER = 0.01
"""Maximum share of lists whose replay may differ; above it, the logged ranks are not trusted."""
_OUT_OF_REACH = 0


class OffPolicyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The estimate of the other model, and as a check that of the models that served, beside the observed rate.

    - ``consistent``: the check's interval contains the observed rate
    - ``left_out``: number of unusable lists by reason
    - ``exponent``, ``bend``: coefficients of the examination curve
    - ``refusal``: reason why there is no estimate; empty if there is one
    """

    version: str
    since: datetime
    until: datetime
    window_min: int
    estimate: OffPolicyEstimate | None
    check: OffPolicyEstimate | None
    consistent: bool
    exponent: float
    bend: float
    left_out: dict[str, int]
    refusal: str


class _Row(msgspec.Struct, frozen=True):
    """One usable list. Ranks and positions count from 1; 0: none."""

    user: str
    rank: list[int]
    outcome: list[int]
    target: list[int]
    support: list[int]
    eligible: int
    exploration: Exploration
    explored: bool
    is_other_arm: bool


def estimate_other(
    replayer: Replayer,
    lists: Iterable[LoggedOutcome],
    *,
    version: str = "",
    policy: Policy | None = None,
    since: datetime,
    until: datetime,
    window: timedelta,
) -> OffPolicyReport:
    """Return the estimate for ``version`` under ``policy``.

    Without ``version``, each list uses the model that served it; without ``policy``, the policy of the list.
    """
    left_out: Counter[str] = Counter()
    rows = list[_Row]()
    for shown, begun in lists:
        try:
            row = _compare(replayer, shown, begun, version, policy)
        except (ReleaseError, ArtifactRefused) as error:
            left_out[name_failure(error)] += 1
            continue
        if isinstance(row, str):
            left_out[row] += 1
        else:
            rows.append(row)
    known: dict[str, Any] = {
        "version": version,
        "since": since,
        "until": until,
        "window_min": int(window.total_seconds() // 60),
    }
    if not rows:
        return OffPolicyReport(
            **known, estimate=None, check=None, consistent=False, exponent=0.0, bend=0.0, left_out=left_out,
            refusal="no estimate: no list of this time can be used",
        )  # fmt: skip
    logged = _stack(rows)
    curve = fit_examination(*_find_begun(rows, logged))
    flat, deviations = curve.at_positions(LIST_LENGTH), curve.deviate(LIST_LENGTH)
    own = logged._replace(
        target=np.where(logged.rank <= LIST_LENGTH, logged.rank, 0),
        support=np.tile(np.arange(1, LIST_LENGTH + 1), (len(rows), 1)),
    )
    estimate, check = (estimate_target(one, flat, deviations) for one in (logged, own))
    consistent = not check.refusal and check.low <= check.observed <= check.high
    return OffPolicyReport(
        **known,
        estimate=estimate,
        check=check,
        consistent=consistent,
        exponent=curve.exponent,
        bend=curve.bend,
        left_out=left_out,
        refusal=estimate.refusal or _doubt(left_out, len(rows), check, consistent),
    )


def _doubt(left_out: Counter[str], used: int, check: OffPolicyEstimate, consistent: bool) -> str:
    """Return the reason why the log is not consistent with its models; empty if it is."""
    other = sum(left_out.values())
    if left_out[_DIFFERENT] > MAX_OTHER * (used + other):
        return f"no estimate: {left_out[_DIFFERENT]} of {used + other} lists have other ranks than their model gives"
    if not consistent:
        return (
            f"no estimate: the models that served would have got {check.low:.4g} to {check.high:.4g}, "
            f"but {check.observed:.4g} was observed"
        )
    return ""


_DIFFERENT = "the ranks are not those of its model"


def _compare(
    replayer: Replayer, shown: Impression, begun: frozenset[str], version: str, policy: Policy | None
) -> _Row | str:
    """Return the list with the target's positions, or the reason why it cannot be used."""
    own, inputs = replayer.find_policy(shown), shown.inputs
    if own is None or inputs is None:
        return "made without a release"
    if own.pins or own.quotas:
        return "the policy has pins or quotas"
    if inputs.teams:
        return "the list was interleaved"
    exploration = choose_exploration(own, read_exploration(inputs))
    if shown.eligible < LIST_LENGTH + exploration.extra_candidates:
        return "too few eligible movies"
    ranked = replayer.rank_candidates(shown, exploration)
    if any(m.rank < 1 or (m.rank <= len(ranked) and ranked[m.rank - 1] != m.movie_id) for m in shown.movies):
        return _DIFFERENT
    other = replayer.rank(shown, version=version, policy=policy)
    position = {movie_id: at for at, movie_id in enumerate(other, 1)}
    rank = {movie_id: at for at, movie_id in enumerate(ranked, 1)}
    support = [rank.get(movie_id, _OUT_OF_REACH) for movie_id in other]
    return _Row(
        user=shown.user_id,
        rank=[m.rank for m in shown.movies],
        outcome=[int(m.movie_id in begun) for m in shown.movies],
        target=[position.get(m.movie_id, 0) for m in shown.movies],
        support=support + [_OUT_OF_REACH] * (LIST_LENGTH - len(support)),
        eligible=shown.eligible,
        exploration=exploration,
        explored=shown.explored,
        is_other_arm=policy is None and shown.arm != OUTSIDE and replayer.is_other_arm(shown, version),
    )


def _stack(rows: list[_Row]) -> LoggedLists:
    numbers = {user: number for number, user in enumerate(dict.fromkeys(row.user for row in rows))}
    return LoggedLists(
        user=np.array([numbers[row.user] for row in rows]),
        rank=np.array([row.rank for row in rows]),
        outcome=np.array([row.outcome for row in rows], float),
        eligible=np.array([row.eligible for row in rows]),
        share=np.array([row.exploration.epsilon for row in rows]),
        tail=np.array([row.exploration.slots for row in rows]),
        pool=np.array([row.exploration.candidates for row in rows]),
        target=np.array([row.target for row in rows]),
        support=np.array([row.support for row in rows]),
    )


def _find_begun(rows: list[_Row], logged: LoggedLists) -> tuple[np.ndarray, Floats]:
    """Return the position of each begun movie that chance moved, and the chances of all positions for it.

    Chance is exploration, and the arm of the user where the other model served as many users at the same time.
    """
    row, column = np.nonzero(logged.outcome > 0)
    arms = np.array([one.is_other_arm for one in rows])[row] & (logged.target[row, column] > 0)
    explored = np.array([one.explored for one in rows])
    by_chance = chances_of_exploration(explored[row], logged.tail[row], LIST_LENGTH)[np.arange(len(row)), column]
    by_arm = chances_of_arms(column[arms] + 1, logged.target[row, column][arms], LIST_LENGTH)
    position = np.concatenate([column[~arms], column[arms]]) + 1
    return position, np.concatenate([by_chance[~arms], by_arm])
