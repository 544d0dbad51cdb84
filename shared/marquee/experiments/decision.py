"""The decision of the controller: a pure function of declaration, look, release and clock.

The controller keeps no state. Runs that are repeated after a kill or that overlap reach the same decision, and the
compare-and-swap on the release number lets only one of them act.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from marquee.experiments.assessment import ArmAssessment, MetricAssessment, SampleAssessment, assess_arm, assess_sample
from marquee.experiments.declaration import Declaration
from marquee.experiments.look import Look, ReleaseState
from marquee.experiments.ratio_estimates import MIN_USERS
from marquee.experiments.sequences import ALPHA

HARM_LIMIT = 1 / ALPHA
"""Mean e-value from which an arm counts as harmed; multiplied by the number of treatments."""
BLIND_AFTER = timedelta(minutes=30)
BACK_AFTER = timedelta(hours=6)
_SILENT_USERS = 10  # An arm as large as control has none of 10 users with probability 1 / 1024.
_SLACK = 1e-9

Action = Literal["none", "hold", "wait", "step", "promote", "end", "back"]
"""`none`: the controller must not act; `hold`: the data are not valid; `wait`: nothing is due; `step`: raise the share;
`promote`: ``arm`` serves everyone; `end`: control serves everyone again; `back`: like `end`, because of harm."""


class ExperimentDecision(msgspec.Struct, frozen=True, kw_only=True):
    """An action with its reason.

    - ``share``: share of each new arm after the action
    - ``arm``: arm that remains when the experiment ends
    - ``evidence``: one line for the release document
    - ``alert``: condition to report, "" for none
    """

    action: Action
    share: float
    arm: str = ""
    reason: str
    alert: Literal["", "harmed", "invalid", "blind"] = ""
    evidence: str
    arms: tuple[ArmAssessment, ...]
    sample: SampleAssessment


def decide(declaration: Declaration, look: Look, state: ReleaseState, now: datetime) -> ExperimentDecision:
    """Return the action that is due at ``now``, from the first applicable row of the table in docs/experiments.md."""
    ended = now >= state.started + _minutes(declaration.schedule.after_min)
    arms = tuple(assess_arm(declaration, look, arm, at_end=ended) for arm in declaration.treatments)
    view = _View(declaration, look, state, now, ended, arms, assess_sample(declaration, look))
    action = _not_ours(view) or _harm(view) or _unsound(view) or _blind(view) or _verdict(view) or _step(view)
    return view.complete(action or _end(view) or _Outcome("wait", view.describe_wait()))


class _Outcome(msgspec.Struct, frozen=True):
    action: Action
    reason: str
    alert: Literal["", "harmed", "invalid", "blind"] = ""
    arm: str = ""
    share: float | None = None  # None: unchanged.


class _View(msgspec.Struct, frozen=True):
    """Inputs of the rules in the decision table."""

    declaration: Declaration
    look: Look
    state: ReleaseState
    now: datetime
    ended: bool
    arms: tuple[ArmAssessment, ...]
    sample: SampleAssessment

    @property
    def harmed(self) -> tuple[str, ...]:
        """Return the arms whose mean e-value reaches the limit."""
        limit = HARM_LIMIT * len(self.arms)
        return tuple(one.arm for one in self.arms if one.e >= limit)

    @property
    def dwelled(self) -> bool:
        return self.now >= self.state.since + _minutes(self.declaration.schedule.dwell_min)

    @property
    def next_share(self) -> float | None:
        """Return the next share of the ladder; None at its top."""
        return next((share for share in self.declaration.ladder if share > self.state.share + _SLACK), None)

    @property
    def room(self) -> float:
        return min(one.room for one in self.arms)

    def blind_since(self) -> datetime | None:
        """Return the time since which an arm or the whole stream has no data; None if all have."""
        if self.look.as_of is None:
            return self.state.started
        times = [self.look.as_of] if self.now - self.look.as_of > BLIND_AFTER else []
        busiest = max(self.look.recent.values(), default=0)
        for arm in self.declaration.arms:
            if not self.look.recent.get(arm) and busiest >= _SILENT_USERS:
                times.append(self.look.newest.get(arm, self.state.started))
        return min(times, default=None)

    def complete(self, outcome: _Outcome) -> ExperimentDecision:
        return ExperimentDecision(
            action=outcome.action,
            share=self.state.share if outcome.share is None else outcome.share,
            arm=outcome.arm,
            reason=outcome.reason,
            alert=outcome.alert,
            evidence=_describe_evidence(self.declaration, self.look, self.arms, self.sample, outcome.reason),
            arms=self.arms,
            sample=self.sample,
        )

    def describe_wait(self) -> str:
        """Return the condition that the next step waits for."""
        target = 1.0 if self.next_share is None else self.next_share
        if not self.dwelled:
            return f"share {self.state.share:g} for at least {self.declaration.schedule.dwell_min:g} minutes"
        tightest = min(self.arms, key=lambda one: one.room)
        if any(one.metric == tightest.waits_for and not one.information for one in tightest.guardrails):
            return f"{tightest.waits_for} of {tightest.arm} has no data of {MIN_USERS} users yet"
        if tightest.room < target or not all(one.fine for one in self.arms):
            return f"{tightest.waits_for} of {tightest.arm} allows a share of {tightest.room:.3g}, not yet {target:g}"
        return f"a verdict on {self.declaration.primary.metric if self.declaration.primary else 'the guardrails'}"


def _not_ours(view: _View) -> _Outcome | None:
    """Do nothing if a person stopped the controller, or if another release serves."""
    if view.state.experiment != view.declaration.name or view.state.number != view.look.release:
        return _Outcome("none", f"release {view.state.number} serves, not {view.look.release} of the look")
    if view.state.held:
        # A person may keep a harmful arm; the alert says what the controller would have done.
        return _Outcome("none", "held by a person", "harmed" if view.harmed else "")
    return None


def _harm(view: _View) -> _Outcome | None:
    if not view.harmed:
        return None
    # Equal arms cannot harm: the data or the pipeline is at fault.
    alert: Literal["harmed", "invalid"] = "invalid" if view.declaration.kind == "aa" else "harmed"
    worst = max(view.arms, key=lambda one: one.e)
    return _stop("back", view, f"{worst.arm} harms: mean e-value {worst.e:,.0f}", alert)


def _unsound(view: _View) -> _Outcome | None:
    sample = view.sample
    if sample.sound:
        return None
    reason = (
        f"invalid split: e-values {sample.e_requests:.3g} and {sample.e_impressions:.3g} of the sample ratio, "
        f"{sample.crossed:.2%} of the users in two arms"
    )
    return _stop("end", view, reason, "invalid") if view.ended else _Outcome("hold", reason, "invalid")


def _blind(view: _View) -> _Outcome | None:
    since = view.blind_since()
    if since is None:
        return None
    age = view.now - since
    reason = f"blind: nothing is known of an arm since {since:%Y-%m-%dT%H:%M:%SZ}"
    return _stop("back", view, reason, "blind") if age > BACK_AFTER else _Outcome("hold", reason, "blind")


def _verdict(view: _View) -> _Outcome | None:
    """Promote the arm at the top of the ladder, or keep control if the primary metric is worse."""
    declaration, schedule = view.declaration, view.declaration.schedule
    if declaration.kind == "canary":
        done = view.dwelled and view.next_share is None and all(one.fine for one in view.arms)
        return _promote(view.arms[0].arm, "every guardrail excludes its margin") if done else None
    if view.now < view.state.started + _minutes(schedule.at_least_min):
        return None
    if declaration.kind == "aa":
        return None
    better = [one for one in view.arms if one.primary and one.primary.verdict == "better"]
    if declaration.kind == "interleaving":
        decided = better or [one for one in view.arms if one.primary and one.primary.verdict == "worse"]
        return _stop("end", view, f"interleaving prefers {_preferred(view)}") if decided else None
    if all(one.primary and one.primary.verdict == "worse" for one in view.arms):
        return _stop("end", view, "the primary metric is worse than that of control")
    winners = [one for one in better if one.fine]
    if not winners or not view.dwelled or (view.next_share is not None and not view.ended):
        return None
    best = max(winners, key=lambda one: -one.primary.harm if one.primary else 0.0)
    return _promote(best.arm, "the primary metric is better, and every guardrail excludes its margin")


def _step(view: _View) -> _Outcome | None:
    """Raise the share if the new share times the upper bound of harm is within each margin."""
    share = view.next_share
    if view.ended or share is None or not view.dwelled or view.room < share:
        return None
    return _Outcome("step", f"harm not excluded allows a share of {view.room:.3g}", share=share)


def _end(view: _View) -> _Outcome | None:
    if not view.ended:
        return None
    if view.declaration.undecided == "promote" and view.declaration.kind == "canary":
        return _promote(view.arms[0].arm, "planned end: nothing was proved, and no harm was found")
    return _stop("end", view, "planned end without a verdict")


def _preferred(view: _View) -> str:
    primary = view.arms[0].primary
    return view.arms[0].arm if primary and primary.verdict == "better" else view.declaration.control


def _promote(arm: str, reason: str) -> _Outcome:
    return _Outcome("promote", reason, arm=arm, share=1.0)


def _stop(action: Action, view: _View, reason: str, alert: Literal["", "harmed", "invalid", "blind"] = "") -> _Outcome:
    return _Outcome(action, reason, alert, view.declaration.control, 0.0)


def _minutes(value: float) -> timedelta:
    return timedelta(minutes=value)


def _describe_evidence(
    declaration: Declaration, look: Look, arms: Sequence[ArmAssessment], sample: SampleAssessment, reason: str
) -> str:
    """Return one line: the reason, the time of the look, and every number that the decision rests on."""
    as_of = f"{look.as_of:%Y-%m-%dT%H:%M:%SZ}" if look.as_of else "no record"
    parts = [
        reason,
        f"as of {as_of}, release {look.release}, declaration {declaration.digest()}",
        *(_describe_arm(arm) for arm in arms),
        f"sample ratio e {sample.e_requests:.3g} and {sample.e_impressions:.3g}, {sample.crossed:.2%} in two arms",
    ]
    return "; ".join(parts)


def _describe_arm(arm: ArmAssessment) -> str:
    metrics = [_describe_metric(one) for one in arm.guardrails]
    if arm.primary:
        metrics.append(f"primary {_describe_primary(arm.primary)}")
    return f"{arm.arm}: {', '.join(metrics)}, mean e {arm.e:.3g}, room {arm.room:.3g}"


def _describe_metric(one: MetricAssessment) -> str:
    if one.margin is None:
        return f"{one.metric} without a baseline"
    return f"{one.metric} harm {one.harm:.3g} at most {one.harm_high:.3g} of {one.margin:.3g} (e {one.e:.3g})"


def _describe_primary(one: MetricAssessment) -> str:
    interval = "" if one.low is None or one.high is None else f" within {one.low:.3g} and {one.high:.3g}"
    return f"{one.metric} {one.estimate:.3g}{interval} ({one.verdict})"
