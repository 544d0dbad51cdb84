"""Pending, firing, resolved, no data, error: by readings that are handed in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.monitoring.alerts.conftest import BY_NAME

from marquee.monitoring.alerts.evaluate import NO_DATA, AlertValue, Reading, out_of_bounds
from marquee.monitoring.alerts.provisioning import Evaluator, Rule
from marquee.monitoring.alerts.state_machine import AlertState, advance, firing

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
RULE = msgspec.structs.replace(BY_NAME["drift"], for_="5m")
GOOD = Reading((AlertValue({"check": "a"}, 0.1, False),))
BAD = Reading((AlertValue({"check": "a"}, 0.9, True),))
BOTH_BAD = Reading((*BAD.numbers, AlertValue({"check": "b"}, 0.8, True)))
EMPTY = Reading(problem=NO_DATA)
BROKEN = Reading(problem="the database is away")


def told(rule: Rule, readings: list[Reading], every_s: float = 60) -> list[list[tuple[dict[str, str], str]]]:
    """The instances after each of the readings, one a minute."""
    memory, found = AlertState(), []
    for number, reading in enumerate(readings):
        memory = advance(rule, memory, reading, NOW + timedelta(seconds=every_s * number))
        found.append([(one.labels, one.state) for one in memory.instances])
    return found


def states(rule: Rule, readings: list[Reading]) -> list[str]:
    """The state of the one instance, or normal."""
    return [after[0][1] if after else "normal" for after in told(rule, readings)]


def test_it_fires_when_the_condition_has_held_for_long_enough() -> None:
    """For five minutes: at the sixth reading, a minute apart."""
    assert states(RULE, [GOOD, *[BAD] * 6, GOOD]) == ["normal", *["pending"] * 5, "firing", "normal"]


def test_one_good_reading_begins_the_wait_anew() -> None:
    assert states(RULE, [*[BAD] * 5, GOOD, *[BAD] * 5]) == [*["pending"] * 5, "normal", *["pending"] * 5]


def test_without_a_wait_it_fires_at_once() -> None:
    assert states(msgspec.structs.replace(RULE, for_="0s"), [BAD]) == ["firing"]


def test_since_is_when_the_condition_began_to_hold() -> None:
    memory = AlertState()
    for minute in range(10):
        memory = advance(RULE, memory, BAD if minute > 1 else GOOD, NOW + timedelta(minutes=minute))
    assert [one.since for one in firing(memory)] == [NOW + timedelta(minutes=2)]


def test_each_instance_has_a_state_of_its_own() -> None:
    """The second begins two minutes later, and is pending while the first fires."""
    found = told(RULE, [BAD, BAD, *[BOTH_BAD] * 4])
    assert found[-1] == [({"check": "a"}, "firing"), ({"check": "b"}, "pending")]


def test_an_instance_whose_row_is_gone_is_resolved_at_the_second_reading() -> None:
    """While others are there: as Grafana has it by default."""
    found = told(RULE, [*[BOTH_BAD] * 6, BAD, BAD])
    assert [len(after) for after in found[-3:]] == [2, 2, 1]


@pytest.mark.parametrize(
    ("no_data", "expected"),
    [
        ("OK", ["firing", "normal", "normal"]),
        ("KeepLast", ["firing", "firing", "firing"]),
        ("Alerting", ["firing", "firing", "firing"]),
        ("NoData", ["firing", "no data", "no data"]),
    ],
)
def test_no_data_is_what_the_rule_says_it_is(no_data: str, expected: list[str]) -> None:
    rule = msgspec.structs.replace(RULE, no_data_state=no_data)
    assert states(rule, [*[BAD] * 6, EMPTY, EMPTY])[-3:] == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("OK", ["firing", "normal", "normal"]),
        ("KeepLast", ["firing", "firing", "firing"]),
        ("Alerting", ["firing", "firing", "firing"]),
        ("Error", ["firing", "error", "error"]),
    ],
)
def test_an_error_is_what_the_rule_says_it_is(error: str, expected: list[str]) -> None:
    rule = msgspec.structs.replace(RULE, exec_err_state=error)
    assert states(rule, [*[BAD] * 6, BROKEN, BROKEN])[-3:] == expected


def test_no_data_that_alerts_waits_like_any_other() -> None:
    """From the first reading without data on; data that are good end it."""
    rule = msgspec.structs.replace(RULE, no_data_state="Alerting", for_="2m")
    assert states(rule, [GOOD, EMPTY, EMPTY, EMPTY, GOOD]) == [
        "normal",
        "pending",
        "pending",
        "firing",
        "normal",
    ]


def test_after_an_error_it_goes_on_where_it_was() -> None:
    rule = msgspec.structs.replace(RULE, exec_err_state="Error")
    assert states(rule, [*[BAD] * 6, BROKEN, *[BAD] * 6])[-6:] == [*["pending"] * 5, "firing"]


@given(st.lists(st.sampled_from([GOOD, BAD, EMPTY, BROKEN]), max_size=40))
def test_nothing_fires_that_did_not_hold_throughout(readings: list[Reading]) -> None:
    """Whatever comes: when it begins to fire, the condition has held for five minutes, errors apart."""
    rule = msgspec.structs.replace(RULE, no_data_state="OK", exec_err_state="KeepLast")
    found = states(rule, readings)
    for number, state in enumerate(found):
        if state == "firing" and (number == 0 or found[number - 1] != "firing"):
            assert number >= 5
            assert set(map(id, readings[number - 5 : number + 1])) <= {id(BAD), id(BROKEN)}


@pytest.mark.parametrize(
    ("kind", "params", "outside"),
    [
        ("gt", (3,), [4, 5]),
        ("lt", (3,), [1, 2]),
        ("within_range", (2, 4), [3]),
        ("outside_range", (2, 4), [1, 5]),
    ],
)
def test_limits_themselves_are_within_bounds(
    kind: str, params: tuple[float, ...], outside: list[int]
) -> None:
    evaluator = msgspec.convert({"type": kind, "params": params}, Evaluator)
    assert [n for n in range(1, 6) if out_of_bounds(n, evaluator)] == outside
