"""Tests of the controller's decision: each row of its table, its order, and its repetition."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import TypeVar

import msgspec
import numpy as np
import pytest
from tests.experiments.looks import CANARY, NOW, START, TRIAL, change, make_look, make_state

from marquee.experiments.decision import ExperimentDecision, decide
from marquee.experiments.declaration import Declaration, parse_declaration
from marquee.experiments.look import Look, ReleaseState

LATER = START + timedelta(days=15)
DAY_8 = START + timedelta(days=8)
LONG = parse_declaration("pair", {"kind": "aa"})
TEAMS = parse_declaration("teams", {"kind": "interleaving", "arms": {"control": "a", "new": "b"}})


T = TypeVar("T", Look, ReleaseState)


def at(look: Look, time: object) -> Look:
    return change(look, as_of=time)


def test_decide_held_by_a_person_does_nothing() -> None:
    """Even a harmful arm stays, but the alert says so."""
    assert decide(CANARY, make_look(), make_state(held=True), NOW).action == "none"
    harmful = decide(CANARY, make_look(rates=0.2), make_state(held=True), NOW)
    assert (harmful.action, harmful.alert) == ("none", "harmed")


@pytest.mark.parametrize("fields", [{"number": 8}, {"experiment": ""}, {"experiment": "other"}])
def test_decide_another_release_serves_does_nothing(fields: dict[str, object]) -> None:
    """The look is of a release that no longer serves: a second run or a person was first."""
    state = msgspec.structs.replace(make_state(), **fields)
    assert decide(CANARY, make_look(rates=0.2), state, NOW).action == "none"


@pytest.mark.parametrize(
    "worse",
    [make_look(rates=0.05), make_look(watched=0.2), make_look(failing=0.01)],
    ids=["rates", "watched", "answered"],
)
def test_decide_harm_goes_back_at_once(worse: Look) -> None:
    """One harmed guardrail suffices, before the dwell is over and at any share."""
    for share, now in ((0.02, START + timedelta(minutes=5)), (0.5, NOW)):
        decision = decide(CANARY, at(worse, now), make_state(share=share), now)
        assert (decision.action, decision.arm, decision.share, decision.alert) == ("back", "control", 0, "harmed")


def test_decide_harm_precedes_an_invalid_sample_and_a_blind_stream() -> None:
    """The arm that harms goes, whatever else is wrong."""
    look = change(make_look(rates=0.2), crossed=30_000, as_of=START)
    assert decide(CANARY, look, make_state(), NOW).action == "back"


@pytest.mark.parametrize(
    "fields",
    [
        {"users": {"control": 5000, "canary": 4000}},
        {"impressed": {"control": 5000, "canary": 4000}},
        {"crossed": 1000},
    ],
)
def test_decide_invalid_sample_holds_and_ends_with_control(fields: dict[str, object]) -> None:
    """No metric is believed; at the planned end control stays, whatever the declaration promotes."""
    look = change(make_look(), **fields)
    held = decide(CANARY, look, make_state(share=0.5), NOW)
    assert (held.action, held.alert, held.share) == ("hold", "invalid", 0.5)
    ended = decide(CANARY, at(look, LATER), make_state(share=0.5), LATER)
    assert (ended.action, ended.arm, ended.alert) == ("end", "control", "invalid")


@pytest.mark.parametrize("minutes", [31, 300])
def test_decide_blind_stream_holds_then_goes_back(minutes: int) -> None:
    """A stream that is silent for half an hour stops the ramp; after six hours control serves."""
    look, state = make_look(), make_state(share=0.5)
    held = decide(CANARY, at(look, NOW), state, NOW + timedelta(minutes=minutes))
    assert (held.action, held.alert) == ("hold", "blind")
    for hours in (6.1, 7, 11, 40):
        back = decide(CANARY, at(look, NOW), state, NOW + timedelta(hours=hours))
        assert (back.action, back.arm, back.alert) == ("back", "control", "blind")


def test_decide_without_any_record_is_blind_since_the_start() -> None:
    """A database without a record holds at once."""
    decision = decide(CANARY, change(make_look(), as_of=None), make_state(), NOW)
    assert (decision.action, decision.alert) == ("hold", "blind")


def test_decide_arm_without_requests_is_blind_unless_all_are_quiet() -> None:
    """Ten users of control and none of the canary: its requests are not logged. A quiet night is no fault."""
    look, state = make_look(), make_state(share=0.5)
    silent = change(look, recent={"control": 10, "canary": 0}, newest={"canary": NOW - timedelta(hours=1)})
    assert decide(CANARY, silent, state, NOW).action == "hold"
    longer = change(silent, newest={"canary": NOW - timedelta(hours=7)})
    assert decide(CANARY, longer, state, NOW).action == "back"
    assert decide(CANARY, change(look, recent={"control": 3}), state, NOW).action == "promote"


def test_decide_dwell_not_over_waits() -> None:
    """A share stays for the dwell, whatever the evidence."""
    for share in CANARY.ladder:
        now = START + timedelta(minutes=9)
        decision = decide(CANARY, at(make_look(), now), make_state(share=share), now)
        assert (decision.action, decision.share) == ("wait", share)
        assert "at least 10 minutes" in decision.reason


def test_decide_harm_excluded_takes_the_next_step_and_promotes_at_the_top() -> None:
    """Three shares, one step a decision, then everyone."""
    actions = [decide(CANARY, make_look(), make_state(share=share), NOW) for share in (0.02, 0.2, 0.5)]
    assert [(one.action, one.share) for one in actions] == [("step", 0.2), ("step", 0.5), ("promote", 1.0)]
    assert actions[-1].arm == "canary"


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("users", [100, 200, 300, 500, 700, 20_000])
def test_decide_step_keeps_share_times_open_harm_within_each_margin(users: int, share: float) -> None:
    """The share of every step, and of a promotion, is bounded by the harm that is not excluded."""
    decision = decide(CANARY, make_look(users=users), make_state(share=share), NOW)
    assert decision.action in ("wait", "step", "promote")
    if decision.action != "wait":
        for one in decision.arms[0].guardrails:
            if one.verdict != "silent":
                assert one.margin is not None
                assert decision.share * one.harm_high <= one.margin
    assert (decision.action == "wait") == (users < {0.02: 200, 0.2: 300, 0.5: 700}[share])


def test_decide_missing_data_waits_and_says_for_what() -> None:
    """A guardrail without data allows no step, except `ranks`, which many sites cannot have."""
    look = make_look()
    for name in ("rates", "watched", "answered"):
        partial = change(look, sums={key: value for key, value in look.sums.items() if key != name})
        decision = decide(CANARY, partial, make_state(share=0.2), NOW)
        assert decision.action == "wait"
        assert decision.reason == f"{name} of canary has no data of 50 users yet"
    assert "ranks" not in look.sums
    no_baseline = change(look, baselines={})
    assert decide(CANARY, no_baseline, make_state(share=0.2), NOW).reason.startswith("rates of canary")


def test_decide_canary_at_its_end_promotes_without_a_verdict() -> None:
    """The gate let the model through; a quiet site cannot prove more in twelve hours."""
    end = START + timedelta(hours=12)
    decision = decide(CANARY, at(make_look(users=60), end), make_state(), end)
    assert (decision.action, decision.arm) == ("promote", "canary")
    assert "nothing was proved" in decision.reason
    careful = parse_declaration("canary", {"kind": "canary", "ends": {"after_h": 12, "undecided": "control"}})
    assert decide(careful, at(make_look(careful, users=60), end), make_state(careful), end).action == "end"


def test_decide_experiment_waits_for_the_least_length() -> None:
    """A better primary metric promotes after seven days, at the top of the ladder only."""
    look = make_look(TRIAL, minutes=33.0)
    assert decide(TRIAL, look, make_state(TRIAL, share=0.5), NOW).action == "wait"
    decision = decide(TRIAL, at(look, DAY_8), make_state(TRIAL, share=0.5), DAY_8)
    assert (decision.action, decision.arm) == ("promote", "trend")
    assert decide(TRIAL, at(look, DAY_8), make_state(TRIAL, share=0.2), DAY_8).action == "step"


def test_decide_experiment_that_lost_keeps_control() -> None:
    """A worse primary metric ends it, at any share, without an alert."""
    look = at(make_look(TRIAL, minutes=28.0), DAY_8)
    decision = decide(TRIAL, look, make_state(TRIAL, share=0.2), DAY_8)
    assert (decision.action, decision.arm, decision.alert) == ("end", "control", "")


def test_decide_experiment_better_with_an_open_guardrail_waits_and_ends_with_control() -> None:
    """A promotion needs every guardrail to exclude its margin."""
    look = make_look(TRIAL, minutes=33.0, watched=0.293, users=30_000)
    assert decide(TRIAL, at(look, DAY_8), make_state(TRIAL, share=0.5), DAY_8).action == "wait"
    ended = decide(TRIAL, at(look, LATER), make_state(TRIAL, share=0.5), LATER)
    assert (ended.action, ended.arm) == ("end", "control")


def test_decide_experiment_at_its_end_adds_the_fixed_test() -> None:
    """The second half of alpha finds at the end what the sequence alone does not."""
    look = make_look(TRIAL, minutes=30.4)
    early = decide(TRIAL, at(look, DAY_8), make_state(TRIAL, share=0.5), DAY_8)
    late = decide(TRIAL, at(look, LATER), make_state(TRIAL, share=0.5), LATER)
    assert (early.action, late.action) == ("wait", "promote")
    equal = decide(TRIAL, at(make_look(TRIAL), LATER), make_state(TRIAL, share=0.5), LATER)
    assert (equal.action, equal.arm) == ("end", "control")


def test_decide_aa_never_promotes_and_calls_harm_invalid() -> None:
    """Equal arms cannot differ: what seems to be harm is a fault of the data."""
    better = at(make_look(LONG, minutes=60.0), DAY_8)
    assert decide(LONG, better, make_state(LONG, share=0.5), DAY_8).action == "wait"
    harmed = decide(LONG, make_look(LONG, rates=0.2), make_state(LONG, share=0.5), NOW)
    assert (harmed.action, harmed.alert) == ("back", "invalid")
    assert decide(LONG, at(better, LATER), make_state(LONG, share=0.5), LATER).action == "end"


@pytest.mark.parametrize(("preferred", "winner"), [(0.1, "new"), (-0.1, "control")])
def test_decide_interleaving_ends_with_a_preference(preferred: float, winner: str) -> None:
    """The first look names the winner and promotes nothing."""
    decision = decide(TEAMS, make_look(TEAMS, preferred=preferred), make_state(TEAMS, share=0.5), NOW)
    assert (decision.action, decision.arm) == ("end", "control")
    assert decision.reason == f"interleaving prefers {winner}"
    assert decide(TEAMS, make_look(TEAMS), make_state(TEAMS, share=0.5), NOW).action == "wait"


def test_decide_several_arms_bound_their_error_together_and_promote_the_best() -> None:
    """Three arms: each must be fine, and the one with the largest effect stays."""
    arms = {"control": "a", "one": "b", "two": "c"}
    declaration = parse_declaration("three", {"kind": "experiment", "arms": arms, "ladder": [0.1, 0.3]})
    look = make_look(declaration, minutes=32.0)
    minutes = look.sums["minutes"] | {"two": make_look(declaration, minutes=34.0).sums["minutes"]["two"]}
    look = at(change(look, sums=look.sums | {"minutes": minutes}), DAY_8)
    decision = decide(declaration, look, make_state(declaration, share=0.3), DAY_8)
    assert (decision.action, decision.arm) == ("promote", "two")


@pytest.mark.parametrize("declaration", [CANARY, TRIAL, LONG, TEAMS], ids=lambda one: one.kind)
def test_decide_repeated_or_late_run_decides_the_same(declaration: Declaration) -> None:
    """Killed, repeated and concurrent runs agree; once one has acted, the others do nothing."""
    rng = np.random.default_rng(12)
    for share, users in product(declaration.ladder, (60, 2000, 40_000)):
        look = make_look(declaration, users=users, rates=rng.choice([0.0, 0.05]))
        state = make_state(declaration, share=share)
        first, again = (decide(declaration, copy(look), copy(state), NOW) for _ in range(2))
        assert msgspec.json.encode(first) == msgspec.json.encode(again)
        acted = msgspec.structs.replace(state, number=8, share=first.share)
        assert decide(declaration, look, acted, NOW).action == "none"


def copy(value: T) -> T:
    """Return the value as another process reads it from JSON."""
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


def test_decide_evidence_is_one_line_with_every_number() -> None:
    """The release document says why: time of the look, declaration, each guardrail, sample ratio, reason."""
    decision: ExperimentDecision = decide(TRIAL, make_look(TRIAL), make_state(TRIAL), NOW)
    assert "\n" not in decision.evidence
    for part in (
        decision.reason,
        "2026-03-01T01:58:00Z",
        TRIAL.digest(),
        "answered harm",
        "rates harm",
        "watched harm",
    ):
        assert part in decision.evidence
    assert "primary minutes" in decision.evidence
    assert "sample ratio e" in decision.evidence
