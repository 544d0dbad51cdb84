"""Expansion of macros as in Grafana's own tests, and refusal of calls that Grafana misreads."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.errors import PanelRefused
from marquee.grafana import durations
from marquee.grafana.macros import TimeRange, expand_macros

START = datetime(2018, 4, 12, 18, 0, tzinfo=UTC)
TIME = TimeRange(START, START + timedelta(minutes=5), timedelta(minutes=10))
TIMES = st.datetimes(min_value=datetime(1960, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
COLUMNS = st.from_regex(r"[a-z_]{1,8}(\.[a-z_]{1,8})?", fullmatch=True)


@pytest.mark.parametrize(
    ("sql", "expanded"),
    [
        ("select $__time(t)", 'select t AS "time"'),
        ("select min($__time(t))", 'select min(t AS "time")'),
        ("$__timeFilter(a.t)", "a.t BETWEEN '2018-04-12T18:00:00Z' AND '2018-04-12T18:05:00Z'"),
        ("select $__timeFrom()", "select '2018-04-12T18:00:00Z'"),
        ("select $__timeTo()", "select '2018-04-12T18:05:00Z'"),
        ("$__timeGroup(t,'5m')", "floor(extract(epoch from t)/300)*300"),
        ("$__timeGroup(t , '5m')", "floor(extract(epoch from t)/300)*300"),
        ("$__timeGroup(t, 20ms)", "floor(extract(epoch from t)/0.02)*0.02"),
        ("$__timeGroup(t,$__interval)", "floor(extract(epoch from t)/600)*600"),
        ("$__timeGroupAlias(t,'5m')", 'floor(extract(epoch from t)/300)*300 AS "time"'),
        ("$__timeGroup(t,'5m'), v", 'floor(extract(epoch from t)/300)*300 AS "time", v'),
        ("$__timeGroup(t,'5m') as time, v", "floor(extract(epoch from t)/300)*300 as time, v"),
        ("$__interval $__interval_ms", "10m 600000"),
        ("count(*), $1", "count(*), $1"),
    ],
)
def test_expand_macros_on_postgresql_matches_grafana(sql: str, expanded: str) -> None:
    """The expansions are those of Grafana's own tests."""
    assert expand_macros(sql, TIME, timescale=False) == expanded


@pytest.mark.parametrize(
    ("sql", "expanded"),
    [
        ("GROUP BY $__timeGroup(t,'5m')", "GROUP BY time_bucket('300.000s',t)"),
        ("GROUP BY $__timeGroup(t , '12d')", "GROUP BY time_bucket('1036800.000s',t)"),
        ("GROUP BY $__timeGroup(t , '20ms')", "GROUP BY time_bucket('0.020s',t)"),
        ("$__timeGroupAlias(t,'1h')", "time_bucket('3600.000s',t) AS \"time\""),
    ],
)
def test_expand_macros_with_timescale_uses_time_bucket(sql: str, expanded: str) -> None:
    """The expansions are those of Grafana's own tests."""
    assert expand_macros(sql, TIME, timescale=True) == expanded


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("$__timeFilter(coalesce(a,b))", "first closing parenthesis"),
        ("$__timeGroup(date_trunc('hour', t), '5m')", "first closing parenthesis"),
        ("$__timeGroup(t,'5m',0)", "Fill in SQL"),
        ("$__timeGroupAlias(t,'5m',NULL)", "Fill in SQL"),
        ("$__timeGroup(t)", r"it takes \(column, interval\)"),
        ("$__timeFilter()", r"it takes \(column\)"),
        ("$__timeFilter(a, b)", r"it takes \(column\)"),
        ("$__timeFrom(a)", r"it takes \(\)"),
        ("$__timeGroup(t,)", "empty argument"),
        ("$__timeGroup(t,'1M')", "'1M' is not a duration"),
        ("$__timeGroup(t,'0s')", "'0s' is not a duration"),
        ("$__timeGroup(t,'5')", "'5' is not a duration"),
        ("$__searchFilter(t)", r"\$__searchFilter.* is not a known macro: \$__time\(column\)"),
        ("$__timeFilter", "not a known macro"),
        ("WHERE arm = '$arm'", "no variables"),
        ("WHERE arm = '${arm:csv}'", "no variables"),
        ("WHERE arm = '[[arm]]'", "no variables"),
    ],
)
def test_expand_macros_misread_call_is_refused(sql: str, message: str) -> None:
    """Calls that Grafana silently misreads are refused with the reason."""
    with pytest.raises(PanelRefused, match=message):
        expand_macros(sql, TIME, timescale=False)


@given(start=TIMES, end=TIMES, column=COLUMNS)
def test_expand_macros_times_are_exact(start: datetime, end: datetime, column: str) -> None:
    """The query has exactly the given times, in the shortest RFC 3339 form."""
    expanded = expand_macros(f"$__timeFilter({column})", TimeRange(start, end), timescale=False)
    match = re.fullmatch(rf"{re.escape(column)} BETWEEN '(.*)' AND '(.*)'", expanded)
    assert match
    assert (datetime.fromisoformat(match[1]), datetime.fromisoformat(match[2])) == (start, end)
    assert not re.search(r"0Z'|\.Z'", re.sub(r":\d\dZ'", "", expanded))


@given(text=st.text(st.characters(blacklist_characters="$["), max_size=60))
def test_expand_macros_text_without_macro_is_unchanged(text: str) -> None:
    """Other text is copied."""
    assert expand_macros(text, TIME, timescale=True) == text


@given(text=st.text(max_size=60))
def test_expand_macros_any_text_is_expanded_or_refused(text: str) -> None:
    """No input raises another error."""
    try:
        expanded = expand_macros(f"SELECT $__timeFrom() {text}", TIME, timescale=False)
    except PanelRefused:
        return
    assert "$__timeFrom()" not in expanded


@given(minutes=st.integers(1, 60 * 24 * 400), points=st.integers(1, 2000))
def test_choose_interval_gives_about_the_requested_points(minutes: int, points: int) -> None:
    """The interval is one that can be parsed again, and the number of points is near the requested one."""
    span = timedelta(minutes=minutes)
    interval = durations.choose_interval(span, points, timedelta(milliseconds=1))
    assert durations.parse_duration(durations.format_duration(interval)) == interval
    if timedelta(milliseconds=10) <= span / points < timedelta(days=40):
        assert interval / 3.5 <= span / points <= interval * 7


@pytest.mark.parametrize(
    ("hours", "step"),
    [(0.25, "1m"), (1, "1m"), (6, "2m"), (24, "5m"), (24 * 7, "30m"), (24 * 30, "3h"), (24 * 80, "6h")],
)
def test_time_range_last_chooses_interval_for_240_points(hours: float, step: str) -> None:
    """An interval is at least a minute, because the tables count by the minute."""
    assert durations.format_duration(TimeRange.last(timedelta(hours=hours)).interval) == step
