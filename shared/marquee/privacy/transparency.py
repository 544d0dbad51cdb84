"""Transparency page of the recommender in service: its main parameters, their measured weights, and user controls.

Article 27 of the EU Digital Services Act requires platforms to publish this information in plain language. The page is
generated from the release, its manifests and policies, and the impressions of the last weeks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from marquee.db.pool import Database
from marquee.experiments.ratio_estimates import ratio, sum_users
from marquee.registry.arm_assignment import Arm
from marquee.registry.manifest import Manifest
from marquee.registry.policy import Policy
from marquee.registry.release import Release

DAYS = 28
"""Number of days of impressions over which the weights are measured."""
_DEADLINE_MS = 600_000
_Z = 1.96

REASONS = {
    "history": "what you watched and rated: movies that people with similar histories liked",
    "popularity": "what is popular now",
    "cohort": "what people of your stated age, gender or occupation like, while you have no history",
    "exploration": "chance: a few places are drawn at random, to learn what people like",
    "pin": "a movie that the service has put at this place",
    "quota": "a minimum share that the service keeps for some genres, languages or countries",
    "other": "no reason recorded, such as a list without a history",
}

# The first reason of a movie contributed most to its score. A reason that is a movie id refers to the user's history.
_COUNTS = """
SELECT user_id, CASE WHEN reason = ANY (%(kinds)s) THEN reason WHEN reason IS NULL OR reason = '' THEN 'other'
                     ELSE 'history' END AS kind, count(*)
FROM impression_movies WHERE time >= now() - make_interval(days => %(days)s) GROUP BY 1, 2"""


@dataclass(frozen=True, slots=True)
class Weight:
    """Share of listed movies whose main reason is of one kind, with its 95 % interval over users."""

    kind: str
    share: float
    low: float
    high: float


def measure_weights(database: Database) -> tuple[list[Weight], int]:
    """Return the weight of each kind of reason, the largest first, and the number of users in the sample.

    The interval is that of a ratio estimator with users as clusters (Cochran, *Sampling Techniques*, 1977, section
    6.5).
    """
    kinds = [kind for kind in REASONS if kind not in ("history", "other")]
    rows = database.read(_COUNTS, {"kinds": kinds, "days": DAYS}, deadline_ms=_DEADLINE_MS)
    of_user: dict[str, dict[str, int]] = {}
    for user, kind, n in rows:
        of_user.setdefault(user, {})[kind] = n
    weights = [_estimate(kind, list(of_user.values())) for kind in REASONS] if of_user else []
    return sorted((w for w in weights if w.share), key=lambda w: -w.share), len(of_user)


def _estimate(kind: str, users: Sequence[Mapping[str, int]]) -> Weight:
    totals = [sum(counts.values()) for counts in users]
    estimate = ratio(sum_users([counts.get(kind, 0) for counts in users], totals), min_users=2)
    share, error = float(estimate.value), sqrt(estimate.variance)
    return Weight(kind, share, max(0.0, share - _Z * error), min(1.0, share + _Z * error))


def render_page(release: Release, manifests: Mapping[str, Manifest], weights: Sequence[Weight], users: int) -> str:
    """Return the page as Markdown; ``manifests`` maps each arm's version to its manifest."""
    lines = [
        "# How your recommendations are made",
        "",
        f"`marquee privacy transparency` wrote this from release {release.number} of {release.created:%Y-%m-%d}.",
        "",
        "## What determines a list",
        "",
    ]
    if weights:
        lines += [
            f"For each movie of a list, one reason adds most. Over the last {DAYS} days and {users:,} users:",
            "",
            "| main reason | share of the movies | 95 % interval |",
            "|---|---|---|",
            *(f"| {REASONS[w.kind]} | {w.share:.1%} | {w.low:.1%} to {w.high:.1%} |" for w in weights),
        ]
    else:
        lines += ["Nothing was recommended yet, so no weight could be measured. The reasons may be:", ""]
        lines += [f"- {text}" for text in REASONS.values()]
    lines += ["", "`explain=3` of the interface gives the reasons of one list, with the exact share of each.", ""]
    for arm in release.arms:
        lines += _describe_arm(arm, manifests[arm.version], alone=len(release.arms) == 1)
    return "\n".join([*lines, *_CHANGES, ""])


def _describe_arm(arm: Arm, manifest: Manifest, *, alone: bool) -> list[str]:
    origin = manifest.provenance
    title = "## The model" if alone else f"## The model of group {arm.name}, {arm.weight:.0%} of the experiment's users"
    ages = f"no movie above your age, or above {arm.policy.assumed_age} if it is unknown"
    return [
        title,
        "",
        f"It learned from {manifest.n_users:,} users and {manifest.n_items:,} movies, until "
        f"{manifest.trained_through:%Y-%m-%d}.",
        f"Ranking: {origin.ranking_method or origin.ranker or 'unknown'}.",
        f"Predicted ratings: {origin.trainer or 'unknown'}.",
        "",
        *_describe_policy(arm.policy, ages),
    ]


def _describe_policy(policy: Policy, ages: str) -> list[str]:
    rules = [
        ages if policy.age_from_account else "",
        f"{len(policy.unavailable)} movies are not available" if policy.unavailable else "",
        f"{len(policy.windows)} movies are shown at certain times only" if policy.windows else "",
        f"{len(policy.pins)} movies are put at fixed places" if policy.pins else "",
        *(f"at least {q.share:.0%} of a list: {q.attribute} {', '.join(q.values)}" for q in policy.quotas),
        f"cheaper licenses are preferred, with weight {policy.cost_weight:g}" if policy.cost_weight else "",
    ]
    kept = [f"- {rule}" for rule in rules if rule]
    return ["Rules for every list:", "", *kept, ""] if kept else ["There are no other rules.", ""]


_CHANGES = [
    "## How you can change it",
    "",
    "- Without a profile: ask for a list with `profile=off`, or turn profiling off for your account.",
    "- Genres, years, languages and more: the parameters of the interface choose what a list may hold.",
    "- More variety: `diversity` and `calibrated`.",
    "- Your data: you can have them exported, or be forgotten.",
]
