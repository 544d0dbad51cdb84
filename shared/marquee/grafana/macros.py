"""Grafana's macros for PostgreSQL, expanded as its own data source does.

After ``macros.go`` of Grafana's pkg/tsdb/grafana-postgresql-datasource. Where Grafana would quietly read
something other than what is written (an argument that holds a parenthesis, one argument too many, a macro
that nobody knows), this refuses, so that what runs here means the same there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from marquee.errors import PanelRefused
from marquee.grafana import durations

# Grafana ends an argument list at the first closing parenthesis, whatever was opened before.
_CALL = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_LEFT = re.compile(r"\$\{?[_a-zA-Z]\w*|\[\[\w+\]\]")
_ALIAS = ' AS "time"'


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From ``start`` to ``end``, both aware. ``interval``: the length of one point, ``$__interval``."""

    start: datetime
    end: datetime
    interval: timedelta = field(default=timedelta(minutes=1))

    @classmethod
    def last(cls, span: timedelta, *, points: int = 240, least: str = "1m") -> TimeRange:
        """The time up to now, in about ``points`` points of at least ``least``, by Grafana's own steps."""
        now = datetime.now(UTC)
        return cls(now - span, now, durations.choose_interval(span, points, durations.parse_duration(least)))


def expand(sql: str, time: TimeRange, *, timescale: bool) -> str:
    """``sql`` with every macro replaced; raises PanelRefused, with what is valid.

    ``timescale``: whether the data source has TimescaleDB switched on.
    """
    sql = sql.replace("$__interval_ms", str(durations.to_milliseconds(time.interval)))
    sql = sql.replace("$__interval", durations.format_duration(time.interval))

    def replaced(call: re.Match[str]) -> str:
        name, arguments = call[1], [argument.strip(" ") for argument in call[2].split(",")]
        if name == "__timeGroup" and _names_its_column(call[0], sql):
            name = "__timeGroupAlias"
        return _expand_call(name, arguments, time, timescale)

    expanded = _CALL.sub(replaced, sql)
    if left := _LEFT.search(expanded):
        raise PanelRefused(
            f"{left[0]} is no macro that is known here ({_known()}), and dashboards have no variables"
        )
    return expanded


def _names_its_column(call: str, sql: str) -> bool:
    """Whether Grafana takes ``$__timeGroup`` for its Alias: the first such call is followed by a comma."""
    return sql[sql.index(call) + len(call) :].startswith(",")


def _expand_call(name: str, arguments: Sequence[str], time: TimeRange, timescale: bool) -> str:
    if name not in _MACROS:
        raise PanelRefused(f"${name}(...) is no macro that is known here: {_known()}")
    wanted, expansion = _MACROS[name]
    given = [argument for argument in arguments if argument]
    if len(given) != len(arguments) and arguments != [""]:
        raise PanelRefused(f"${name}({', '.join(arguments)}) has an empty argument")
    if any("(" in argument for argument in given):
        raise PanelRefused(
            f"${name}({', '.join(given)}: Grafana ends the arguments at the first closing parenthesis. "
            "Give the expression a name in a subquery, and that name to the macro"
        )
    if "Group" in name and len(given) == 3:
        raise PanelRefused(f"${name} with a fill value: Grafana fills after the query. Fill in SQL instead")
    if len(given) != len(wanted):
        raise PanelRefused(f"${name}({', '.join(given)}): it takes ({', '.join(wanted)})")
    return expansion(given, time, timescale)


def _known() -> str:
    calls = [f"${name}({', '.join(wanted)})" for name, (wanted, _) in _MACROS.items()]
    return ", ".join([*calls, "$__interval", "$__interval_ms"])


def _quoted(moment: datetime) -> str:
    return f"'{_rfc3339(moment)}'"


def _rfc3339(moment: datetime) -> str:
    """As Go writes RFC3339Nano: the fraction without its last zeros, and none if it is zero."""
    whole, _, fraction = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def _epoch(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _time_filter(given: Sequence[str], time: TimeRange, timescale: bool) -> str:
    return f"{given[0]} BETWEEN {_quoted(time.start)} AND {_quoted(time.end)}"


def _epoch_filter(given: Sequence[str], time: TimeRange, timescale: bool) -> str:
    return f"{given[0]} >= {_epoch(time.start)} AND {given[0]} <= {_epoch(time.end)}"


def _time_group(given: Sequence[str], time: TimeRange, timescale: bool) -> str:
    seconds = durations.parse_duration(given[1].strip("'")) / timedelta(seconds=1)
    if timescale:
        return f"time_bucket('{seconds:.3f}s',{given[0]})"
    return f"floor(extract(epoch from {given[0]})/{_number(seconds)})*{_number(seconds)}"


def _epoch_group(given: Sequence[str], time: TimeRange, timescale: bool) -> str:
    seconds = _number(durations.parse_duration(given[1].strip("'")) / timedelta(seconds=1))
    return f"floor(({given[0]})/{seconds})*{seconds}"


def _number(seconds: float) -> str:
    return str(int(seconds)) if seconds == int(seconds) else repr(seconds)


Expansion = Callable[[Sequence[str], TimeRange, bool], str]
# name -> (its arguments, what comes in its place)
_MACROS: dict[str, tuple[tuple[str, ...], Expansion]] = {
    "__time": (("column",), lambda given, time, timescale: given[0] + _ALIAS),
    "__timeEpoch": (("column",), lambda given, time, timescale: f'extract(epoch from {given[0]}) as "time"'),
    "__timeFilter": (("column",), _time_filter),
    "__timeFrom": ((), lambda given, time, timescale: _quoted(time.start)),
    "__timeTo": ((), lambda given, time, timescale: _quoted(time.end)),
    "__timeGroup": (("column", "interval"), _time_group),
    "__timeGroupAlias": (
        ("column", "interval"),
        lambda given, time, timescale: _time_group(given, time, timescale) + _ALIAS,
    ),
    "__unixEpochFilter": (("column",), _epoch_filter),
    "__unixEpochFrom": ((), lambda given, time, timescale: str(_epoch(time.start))),
    "__unixEpochTo": ((), lambda given, time, timescale: str(_epoch(time.end))),
    "__unixEpochGroup": (("column", "interval"), _epoch_group),
    "__unixEpochGroupAlias": (
        ("column", "interval"),
        lambda given, time, timescale: _epoch_group(given, time, timescale) + _ALIAS,
    ),
}
