"""States of an alert after given evaluations: normal, pending, firing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.monitoring.alerts.conftest import RULES

from marquee.monitoring.alerts.evaluate import NO_DATA, Alert, AlertValue, RuleEvaluation, advance_alerts
from marquee.monitoring.alerts.rules_file import Rule

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
RULE = replace(RULES["drift"], for_="5m")
GOOD = RuleEvaluation((AlertValue({"check": "a"}, 0.1),))
BAD = RuleEvaluation((AlertValue({"check": "a"}, 0.9),))
BOTH_BAD = RuleEvaluation((*BAD.values, AlertValue({"check": "b"}, 0.8)))
EMPTY = RuleEvaluation(problem=NO_DATA)
FAILED = RuleEvaluation(problem="the database is unavailable")


def advance_all(rule: Rule, evaluations: list[RuleEvaluation]) -> list[tuple[Alert, ...]]:
    """Return the alerts after each evaluation, one a minute."""
    alerts: tuple[Alert, ...] = ()
    results = []
    for minute, evaluation in enumerate(evaluations):
        alerts = advance_alerts(rule, alerts, evaluation, NOW + timedelta(minutes=minute))
        results.append(alerts)
    return results


def list_states(rule: Rule, evaluations: list[RuleEvaluation]) -> list[str]:
    """Return the state of the first alert after each evaluation."""
    return [alerts[0].state for alerts in advance_all(rule, evaluations)]


def test_advance_condition_held_for_pending_period_fires() -> None:
    """A rule with ``for: 5m`` fires at the sixth evaluation, a minute apart, and resolves at once."""
    assert list_states(RULE, [GOOD, *[BAD] * 6, GOOD]) == ["normal", *["pending"] * 5, "firing", "normal"]


def test_advance_one_good_value_restarts_pending_period() -> None:
    """The condition has to hold without interruption."""
    states = list_states(RULE, [*[BAD] * 5, GOOD, *[BAD] * 5])
    assert states == [*["pending"] * 5, "normal", *["pending"] * 5]


def test_advance_value_at_threshold_is_normal() -> None:
    """Only a value above the threshold counts."""
    at_threshold = RuleEvaluation((AlertValue({}, RULE.threshold),))
    (alert,) = advance_alerts(RULE, (), at_threshold, NOW)
    assert (alert.state, alert.value, alert.since) == ("normal", RULE.threshold, None)


def test_advance_since_is_start_of_condition() -> None:
    """``since`` stays the time of the first value above the threshold."""
    (alert,) = advance_all(RULE, [GOOD, GOOD, *[BAD] * 8])[-1]
    assert (alert.state, alert.since) == ("firing", NOW + timedelta(minutes=2))


def test_advance_normal_alert_has_largest_value() -> None:
    """A rule that is normal is reported once."""
    two = RuleEvaluation((AlertValue({"check": "a"}, 0.1), AlertValue({"check": "b"}, 0.2)))
    (alert,) = advance_alerts(RULE, (), two, NOW)
    assert (alert.labels, alert.value) == ({"check": "b"}, 0.2)


def test_advance_each_label_set_has_its_own_state() -> None:
    """A second label set that begins two minutes later is pending while the first fires."""
    alerts = advance_all(RULE, [BAD, BAD, *[BOTH_BAD] * 4])[-1]
    assert [(alert.labels, alert.state) for alert in alerts] == [
        ({"check": "a"}, "firing"),
        ({"check": "b"}, "pending"),
    ]


def test_advance_missing_row_resolves() -> None:
    """A label set without a row is no longer reported."""
    alerts = advance_all(RULE, [*[BOTH_BAD] * 6, BAD])
    assert [len(each) for each in alerts[-2:]] == [2, 1]


@pytest.mark.parametrize(("action", "state"), [("OK", "normal"), ("Alerting", "firing")])
def test_advance_no_data_follows_rule(action: Literal["OK", "Alerting"], state: str) -> None:
    """``noDataState`` decides what an evaluation without rows means."""
    rule = replace(RULE, no_data_state=action)
    assert list_states(rule, [*[BAD] * 6, EMPTY, EMPTY])[-3:] == ["firing", state, state]


@pytest.mark.parametrize("action", ["KeepLast", "Alerting"])
def test_advance_error_keeps_firing(action: Literal["KeepLast", "Alerting"]) -> None:
    """After an error a firing alert fires on, whatever ``execErrState`` is."""
    rule = replace(RULE, exec_err_state=action)
    assert list_states(rule, [*[BAD] * 6, FAILED, FAILED])[-3:] == ["firing"] * 3


def test_advance_error_with_keep_last_does_not_raise() -> None:
    """A rule that was normal, or never evaluated, stays normal."""
    rule = replace(RULE, exec_err_state="KeepLast")
    assert list_states(rule, [FAILED, GOOD, *[FAILED] * 7]) == ["normal"] * 9


def test_advance_no_data_that_alerts_is_pending_first() -> None:
    """The pending period also applies to missing data. The summary says what is missing."""
    rule = replace(RULE, no_data_state="Alerting", for_="2m")
    evaluations = [GOOD, EMPTY, EMPTY, EMPTY, GOOD]
    assert list_states(rule, evaluations) == ["normal", "pending", "pending", "firing", "normal"]
    assert advance_all(rule, evaluations)[3][0].summary == NO_DATA


@given(st.lists(st.sampled_from([GOOD, BAD, EMPTY, FAILED]), max_size=40))
def test_advance_fires_only_after_full_pending_period(evaluations: list[RuleEvaluation]) -> None:
    """The condition has held for five minutes before an alert fires, errors aside."""
    rule = replace(RULE, no_data_state="OK", exec_err_state="KeepLast")
    states = list_states(rule, evaluations)
    for minute, state in enumerate(states):
        if state == "firing" and (minute == 0 or states[minute - 1] != "firing"):
            assert minute >= 5
            assert set(map(id, evaluations[minute - 5 : minute + 1])) <= {id(BAD), id(FAILED)}
