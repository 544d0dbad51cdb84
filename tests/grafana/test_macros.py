"""What Grafana's own tests of its macros expect, and what this refuses though Grafana would take it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.errors import PanelRefused
from marquee.grafana import durations
from marquee.grafana.macros import TimeRange, expand

START = datetime(2018, 4, 12, 18, 0, tzinfo=UTC)
TIME = TimeRange(START, START + timedelta(minutes=5), timedelta(minutes=10))
MOMENTS = st.datetimes(min_value=datetime(1960, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
COLUMNS = st.from_regex(r"[a-z_]{1,8}(\.[a-z_]{1,8})?", fullmatch=True)


@pytest.mark.parametrize(
    ("sql", "expanded"),
    [
        ("select $__time(t)", 'select t AS "time"'),
        ("select min($__time(t))", 'select min(t AS "time")'),
        ("select $__timeEpoch(t)", 'select extract(epoch from t) as "time"'),
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
        ("$__unixEpochFilter(t)", "t >= 1523556000 AND t <= 1523556300"),
        ("$__unixEpochFrom(), $__unixEpochTo()", "1523556000, 1523556300"),
        ("$__unixEpochGroup(t+a,'5m')", "floor((t+a)/300)*300"),
        ("$__unixEpochGroupAlias(t,'5m')", 'floor((t)/300)*300 AS "time"'),
        ("$__interval $__interval_ms", "10m 600000"),
        ("count(*), $1", "count(*), $1"),
    ],
)
def test_on_plain_postgresql(sql: str, expanded: str) -> None:
    assert expand(sql, TIME, timescale=False) == expanded


@pytest.mark.parametrize(
    ("sql", "expanded"),
    [
        ("GROUP BY $__timeGroup(t,'5m')", "GROUP BY time_bucket('300.000s',t)"),
        ("GROUP BY $__timeGroup(t , '12d')", "GROUP BY time_bucket('1036800.000s',t)"),
        ("GROUP BY $__timeGroup(t , '20ms')", "GROUP BY time_bucket('0.020s',t)"),
        ("$__timeGroupAlias(t,'1h')", "time_bucket('3600.000s',t) AS \"time\""),
        ("$__unixEpochGroup(t,'5m')", "floor((t)/300)*300"),
    ],
)
def test_with_timescale(sql: str, expanded: str) -> None:
    assert expand(sql, TIME, timescale=True) == expanded


@pytest.mark.parametrize(
    ("sql", "says"),
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
        ("$__timeGroup(t,'1M')", "'1M' is no interval"),
        ("$__timeGroup(t,'0s')", "'0s' is no interval"),
        ("$__timeGroup(t,'5')", "'5' is no interval"),
        ("$__searchFilter(t)", r"\$__searchFilter.* is known here: \$__time\(column\)"),
        ("$__timeFilter", "no macro that is known"),
        ("WHERE arm = '$arm'", "no variables"),
        ("WHERE arm = '${arm:csv}'", "no variables"),
        ("WHERE arm = '[[arm]]'", "no variables"),
    ],
)
def test_what_grafana_would_misread_is_refused(sql: str, says: str) -> None:
    with pytest.raises(PanelRefused, match=says):
        expand(sql, TIME, timescale=False)


@given(start=MOMENTS, end=MOMENTS, column=COLUMNS)
def test_every_time_is_written_to_the_microsecond(start: datetime, end: datetime, column: str) -> None:
    """What stands in the query is the very moment that was given, in the shortest RFC 3339."""
    expanded = expand(f"$__timeFilter({column})", TimeRange(start, end), timescale=False)
    found = re.fullmatch(rf"{re.escape(column)} BETWEEN '(.*)' AND '(.*)'", expanded)
    assert found
    assert (datetime.fromisoformat(found[1]), datetime.fromisoformat(found[2])) == (start, end)
    assert not re.search(r"0Z'|\.Z'", re.sub(r":\d\dZ'", "", expanded))


@given(text=st.text(st.characters(blacklist_characters="$["), max_size=60))
def test_text_without_a_macro_stays_as_it_is(text: str) -> None:
    assert expand(text, TIME, timescale=True) == text


@given(text=st.text(max_size=60))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        expanded = expand(f"SELECT $__timeFrom() {text}", TIME, timescale=False)
    except PanelRefused:
        return
    assert "$__timeFrom()" not in expanded


@given(start=MOMENTS, minutes=st.integers(1, 60 * 24 * 400), points=st.integers(1, 2000))
def test_the_interval_is_one_of_grafanas_steps(start: datetime, minutes: int, points: int) -> None:
    """About ``points`` points, at most three times as many or as few; and it can be read again."""
    least = timedelta(milliseconds=1)
    span = timedelta(minutes=minutes)
    interval = durations.choose_interval(span, points, least)
    assert durations.parse_duration(durations.format_duration(interval)) == interval
    if timedelta(milliseconds=10) <= span / points < timedelta(days=40):
        assert interval / 3.5 <= span / points <= interval * 7


@pytest.mark.parametrize(
    ("hours", "step"),
    [(0.25, "1m"), (1, "1m"), (6, "2m"), (24, "5m"), (24 * 7, "30m"), (24 * 30, "3h"), (24 * 80, "6h")],
)
def test_a_panels_points(hours: float, step: str) -> None:
    """240 points, but never less than a minute each: the tables count by the minute."""
    assert durations.format_duration(TimeRange.last(timedelta(hours=hours)).interval) == step
