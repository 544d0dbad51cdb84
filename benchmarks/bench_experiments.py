"""False alarms, power, canaries and off-policy estimates, on MovieLens users and real models' errors drawn again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import log

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiment_canary import (
    BACKLOG_MIN,
    CUSTOMERS,
    RATINGS_PER_MIN,
    CanaryOutcome,
    Fault,
    other_errors,
    run_canary,
)
from benchmarks.experiment_growthbook import run_safe_rollout
from benchmarks.experiment_replays import (
    BEFORE,
    EXAMINATION,
    LENGTH,
    POPULAR,
    RECIPE,
    RECOMMENDED,
    RETRAINED,
    RankedUsers,
    draw_lists,
    fit_curve,
    load_ranked_users,
)
from benchmarks.experiment_streams import HOURS, METRICS, simulate_streams
from benchmarks.experiment_users import BEGUN_PER_LIST, load_pool
from benchmarks.registry import BenchmarkResult, at_least, at_most, benchmark, is_full_run
from marquee.experiments.off_policy import OffPolicyEstimate, estimate_target
from marquee.experiments.ratio_estimates import Estimate, adjusted_difference, difference
from marquee.experiments.sequences import half_and_end, log_e_harm, normal_quantile, two_sided_radius, z_score

AA_RUNS, AA_USERS = 1000, 400
POWER_RUNS, POWER_PARTS, POWER_USERS = 2000, 4, 800
CANARIES, EQUAL_CANARIES, ROLLOUTS = 40, 200, 40
REPLAYS, REPLAYS_FULL, REPLAY_LISTS, REPLAY_LOOKS = 12, 50, 100_000, 12
_FIXED = normal_quantile(0.975)
# Standard errors between 0 and an effect that a fixed test finds with 80 %.
_PLANNED = _FIXED + normal_quantile(0.8)


@benchmark("aa_false_alarm", "aa_z_false_alarm")
def aa_false_alarm() -> Iterator[BenchmarkResult]:
    """Look at two equal arms every hour for two weeks; the worst of all procedures and metrics counts."""
    sums = simulate_streams(load_pool(), 1, runs=AA_RUNS, users=AA_USERS, adjusted=True)
    alarms, z_alarms = dict[str, float](), dict[str, float]()
    for metric in METRICS:
        adjusted = [False] if metric == "rmse" else [False, True]
        for cuped in adjusted:
            looks = (adjusted_difference if cuped else difference)(sums[metric][:, 0], sums[metric][:, 1])
            name = f"{metric}{' adjusted' if cuped else ''}"
            alarms |= {f"{name} {key}": value for key, value in _false_alarms(looks).items()}
            z_alarms[name] = _ever(np.abs(z_score(looks)) > _FIXED)
    size = f"{AA_RUNS:,} experiments of {AA_USERS} users, {HOURS} looks"
    worst, worst_z = (max(found, key=found.__getitem__) for found in (alarms, z_alarms))
    yield at_most("aa_false_alarm", alarms[worst], "of experiments", 0.05, reference=f"{worst}; {size}")
    reference = f"z-test at every look, {worst_z}; lowest {min(z_alarms.values()):.3f}"
    yield at_least("aa_z_false_alarm", z_alarms[worst_z], "of experiments", 0.25, reference=reference)


@benchmark("power_ratio", "power_information")
def power() -> Iterator[BenchmarkResult]:
    """Compare half-and-end with the fixed test at the planned end, where the effect is the declared one.

    It is the effect that the fixed test finds with a power of 0.8, by the variance of other experiments.
    """
    runs = POWER_RUNS // POWER_PARTS  # At once, in memory.
    lift = _plan_lift(runs)
    parts = [
        simulate_streams(load_pool(), seed, runs=runs, users=POWER_USERS, lift=lift)["begun"]
        for seed in range(POWER_PARTS)
    ]
    sums = np.concatenate(parts)
    looks = difference(sums[:, 0], sums[:, 1])
    end, effect = _last(looks), lift * BEGUN_PER_LIST
    early = half_and_end(looks, effect, at_end=False) != 0
    found = early.any(1) | (half_and_end(end, effect, at_end=True) != 0)
    fixed = float((np.abs(z_score(end)) > _FIXED).mean())
    stop = np.where(early.any(1), early.argmax(1), HOURS - 1)
    used = looks.information[np.arange(POWER_RUNS), stop] / end.information
    reference = f"fixed test {fixed:.3f}, half-and-end {found.mean():.3f}; lift {lift:.1%}, {POWER_RUNS:,} experiments"
    yield at_least("power_ratio", float(found.mean()) / fixed, "ratio", 0.88, reference=reference)
    reference = "mean information at the stop / at the planned end"
    yield at_most("power_information", float(used.mean()), "ratio", 0.9, reference=reference)


@benchmark("bad_rmse_minutes", "bad_rmse_exposed", "failing_minutes", "failing_exposed")
def fast_faults() -> Iterator[BenchmarkResult]:
    """Release a model with a 2 % worse RMSE, and one with 20 % of failing answers."""
    runs = _run_canaries(Fault(rmse=1.02), EQUAL_CANARIES)
    reference = f"{_describe(runs)}; {RATINGS_PER_MIN} ratings/min, and those of {BACKLOG_MIN} min before the start"
    yield at_most("bad_rmse_minutes", _median(runs), "min", 20, reference=reference, interval=_deciles(runs))
    reference = f"of {CUSTOMERS:,} customers; {_describe_unpaired()}; {_describe_rollouts(Fault(rmse=1.02))}"
    yield at_most("bad_rmse_exposed", _exposed(runs), "%", 0.1, reference=reference)
    runs = _run_canaries(Fault(failing=0.2), CANARIES)
    reference = f"{_describe(runs)}; {_describe_rollouts(Fault(failing=0.2))}"
    yield at_most("failing_minutes", _median(runs), "min", 30, reference=reference, interval=_deciles(runs))
    yield at_most("failing_exposed", _exposed(runs), "%", 0.1, reference=f"of {CUSTOMERS:,} customers")


@benchmark("bad_lists_hours", "bad_lists_exposed")
def bad_lists() -> Iterator[BenchmarkResult]:
    """Release a model whose lists lead to 30 % fewer movies begun, and nothing else."""
    runs = _run_canaries(Fault(begun=0.7), CANARIES)
    low, high = _deciles(runs)
    hours = (low / 60, high / 60)
    reference = f"{_describe(runs)}; {_describe_rollouts(Fault(begun=0.7))}"
    yield at_most("bad_lists_hours", _median(runs) / 60, "h", 7, reference=reference, interval=hours)
    yield at_most("bad_lists_exposed", _exposed(runs), "%", 10, reference=f"of {CUSTOMERS:,} customers")


@benchmark("equal_rolled_back", "equal_promoted_hours", "steps_over_margin")
def equal_models() -> Iterator[BenchmarkResult]:
    """Release a model that is as good as the old one, with other predictions."""
    runs = _run_canaries(Fault(), EQUAL_CANARIES)
    back = [run for run in runs if run.action == "back"]
    promoted = [run for run in runs if run.action == "promote"]
    reference = f"{len(back)} of {len(runs)}"
    yield at_most("equal_rolled_back", len(back) / len(runs), "of canaries", 0.05, reference=reference)
    low, high = _deciles(promoted)
    hours = (low / 60, high / 60)
    yield at_most("equal_promoted_hours", _median(promoted) / 60, "h", 6, reference=_describe(promoted), interval=hours)
    over = sum(not run.within_margin for run in runs)
    yield at_most("steps_over_margin", over, "canaries", 0, reference="share times harm not excluded, at each step")


@benchmark("ope_coverage", "ope_halfwidth", "ope_refusals")
def off_policy() -> Iterator[BenchmarkResult]:
    """Estimate a retrained ranker and another recipe from lists with the recommended exploration; look 12 times."""
    people, runs = load_ranked_users(), REPLAYS_FULL if is_full_run() else REPLAYS
    covered, widths, refused, errors = [], dict[str, list[float]](), 0, dict[str, list[float]]()
    for target in (RETRAINED, RECIPE):
        truth = people.list_value(target)
        for run in range(runs):
            looks = _replay(people, target, run)
            covered.append(all(look.low <= truth <= look.high for look in looks))
            refused += bool(looks[-1].refusal)
            errors.setdefault(target, []).append(looks[-1].value / truth - 1)
            widths.setdefault(target, []).append((looks[-1].high - looks[-1].low) / 2 / truth)
    size = f"{len(covered)} logs of {REPLAY_LISTS:,} lists, {REPLAY_LOOKS} looks"
    bias = ", ".join(f"{name}: bias {np.mean(found):+.1%}" for name, found in errors.items())
    yield at_least("ope_coverage", float(np.mean(covered)), "of logs", 0.95, reference=f"{size}; {bias}")
    width = {name: 100 * float(np.median(found)) for name, found in widths.items()}
    reference = ", ".join(f"{name} {value:.1f} %" for name, value in width.items())
    yield at_most("ope_halfwidth", max(width.values()), "% of the value", 8, reference=reference)
    popular = estimate_target(draw_lists(people, np.random.default_rng(9), 20_000, POPULAR, RECOMMENDED), EXAMINATION)
    reference = f"refused of the two rankers; a popularity ranker has support {popular.support:.0%}"
    yield at_most("ope_refusals", refused if popular.refusal else np.inf, "logs", 0, reference=reference)


@benchmark("exploration_cost")
def exploration_cost() -> Iterator[BenchmarkResult]:
    """Compute the movies begun that the recommended exploration loses, exactly, on the same users."""
    people = load_ranked_users()
    cost, before = (100 * people.exploration_cost(chance) for chance in (RECOMMENDED, BEFORE))
    share, tail, pool = RECOMMENDED.share, RECOMMENDED.tail, RECOMMENDED.pool
    reference = f"1 % uniform lists and 3 of 9: {before:.2f} %; this is {share:.1%} and {tail} of {pool}"
    yield at_most("exploration_cost", cost, "%", 1.1, reference=reference, reference_value=before)


def _false_alarms(looks: Estimate) -> dict[str, float]:
    effect = _PLANNED * float(np.sqrt(_last(looks).variance.mean()))
    both = (half_and_end(looks, effect, at_end=False) != 0).any(1) | (
        half_and_end(_last(looks), effect, at_end=True) != 0
    )
    return {
        "sequence": _ever(np.abs(looks.value) > two_sided_radius(looks.information, effect)),
        "harm": _ever(log_e_harm(looks, effect) >= log(20)),
        "half and end": float(both.mean()),
    }


def _plan_lift(runs: int) -> float:
    """Return the lift of movies begun that a fixed test at the planned end finds with a power of 0.8.

    The variance grows with the lift, so that it is planned three times.
    """
    lift = 0.0
    for seed in (101, 102, 103):
        sums = simulate_streams(load_pool(), seed, runs=runs, users=POWER_USERS, lift=lift)["begun"][:, :, -1]
        variance = difference(sums[:, 0], sums[:, 1]).variance.mean()
        lift = _PLANNED * float(np.sqrt(variance)) / BEGUN_PER_LIST
    return lift


def _last(looks: Estimate) -> Estimate:
    return Estimate(looks.value[:, -1], looks.variance[:, -1])


def _ever(crossed: NDArray[np.bool_]) -> float:
    return float(crossed.any(1).mean())


def _run_canaries(fault: Fault, runs: int) -> list[CanaryOutcome]:
    pool = load_pool()
    return [run_canary(pool, fault, seed) for seed in range(runs)]


def _median(runs: Iterable[CanaryOutcome]) -> float:
    return float(np.median([run.minutes for run in runs]))


def _deciles(runs: Iterable[CanaryOutcome]) -> tuple[float, float]:
    low, high = np.quantile([run.minutes for run in runs], [0.1, 0.9]).tolist()
    return low, high


def _exposed(runs: Iterable[CanaryOutcome]) -> float:
    """Return the median percentage of customers who saw the new arm."""
    return 100 * float(np.median([run.exposed for run in runs]))


def _describe(runs: list[CanaryOutcome]) -> str:
    counts = {action: sum(run.action == action for run in runs) for action in ("back", "promote", "end")}
    return ", ".join(f"{action} {count} of {len(runs)}" for action, count in counts.items() if count)


def _describe_rollouts(fault: Fault) -> str:
    """Return what a safe rollout like GrowthBook's does with the fault."""
    runs = [run_safe_rollout(load_pool(), fault, seed) for seed in range(ROLLOUTS)]
    return f"GrowthBook's way: {_describe(runs)}, median {_median(runs):.0f} min, seen by {_exposed(runs):.2g} %"


def _describe_unpaired() -> str:
    """Return how many ratings 3.5 standard errors of the same fault take, paired and by arm."""
    rng, pool = np.random.default_rng(0), load_pool()
    old = pool.draw_errors(rng, rng.integers(0, len(pool.activity), 200_000))
    new = other_errors(rng, old, 1.02)
    loss = new**2 - old**2
    paired = (3.5 * loss.std() / loss.mean()) ** 2
    by_arm = 2 * (3.5 / loss.mean()) ** 2 * ((old**2).var() + (new**2).var())
    return f"3.5 standard errors take {paired:,.0f} ratings paired, {by_arm:,.0f} by arm"


def _replay(people: RankedUsers, target: str, run: int) -> list[OffPolicyEstimate]:
    rng = np.random.default_rng([run, target == RECIPE])
    curve = fit_curve(people, rng, REPLAY_LISTS // 5)
    lists = draw_lists(people, rng, REPLAY_LISTS, target, RECOMMENDED)
    sizes = np.linspace(REPLAY_LISTS / REPLAY_LOOKS, REPLAY_LISTS, REPLAY_LOOKS).astype(int)
    fitted, deviations = curve.at_positions(LENGTH), curve.deviate(LENGTH)
    return [estimate_target(lists.take_first(size), fitted, deviations) for size in sizes.tolist()]
