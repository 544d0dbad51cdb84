"""Expansion of Grafana's SQL macros for PostgreSQL, except those of epochs, as ``macros.go`` of its data source does.

The source is in Grafana's pkg/tsdb/grafana-postgresql-datasource. Grafana silently misreads some calls: an argument
with a parenthesis, a surplus argument, an unknown macro. These are refused here, so that a query means the same in
both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from marquee.errors import PanelRefused
from marquee.grafana import durations

# Grafana ends an argument list at the first closing parenthesis, even if it closes an inner one.
_CALL = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_UNEXPANDED = re.compile(r"\$\{?[_a-zA-Z]\w*|\[\[\w+\]\]")
# Name -> (parameters, format string of the expansion). The fields are described at _expansion_fields.
_MACROS: dict[str, tuple[tuple[str, ...], str]] = {
    "__time": (("column",), '{column} AS "time"'),
    "__timeFilter": (("column",), "{column} BETWEEN {start} AND {end}"),
    "__timeFrom": ((), "{start}"),
    "__timeTo": ((), "{end}"),
    "__timeGroup": (("column", "interval"), "{bucket}"),
    "__timeGroupAlias": (("column", "interval"), '{bucket} AS "time"'),
}


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Time range from ``start`` to ``end``, both aware. ``interval`` is ``$__interval``, the length of one point."""

    start: datetime
    end: datetime
    interval: timedelta = field(default=timedelta(minutes=1))

    @classmethod
    def last(cls, span: timedelta, *, points: int = 240, min_interval: str = "1m") -> TimeRange:
        """Return the range of length ``span`` up to now, with the interval that Grafana chooses."""
        now = datetime.now(UTC)
        interval = durations.choose_interval(span, points, durations.parse_duration(min_interval))
        return cls(now - span, now, interval)


def expand_macros(sql: str, time: TimeRange, *, timescale: bool) -> str:
    """Return ``sql`` with every macro expanded.

    ``timescale`` is the data source's switch for TimescaleDB. Raises :class:`PanelRefused` if a macro
    or an argument is not valid.
    """
    sql = sql.replace("$__interval_ms", str(durations.to_milliseconds(time.interval)))
    sql = sql.replace("$__interval", durations.format_duration(time.interval))

    def expand_match(call: re.Match[str]) -> str:
        name, arguments = call[1], [argument.strip(" ") for argument in call[2].split(",")]
        if name == "__timeGroup" and _is_first_and_followed_by_comma(call[0], sql):
            name = "__timeGroupAlias"
        return _expand_call(name, arguments, time, timescale)

    expanded = _CALL.sub(expand_match, sql)
    if rest := _UNEXPANDED.search(expanded):
        raise PanelRefused(f"{rest[0]} is not a known macro ({_list_macros()}); dashboards have no variables")
    return expanded


def _is_first_and_followed_by_comma(call: str, sql: str) -> bool:
    """Return True if Grafana treats ``$__timeGroup`` as ``$__timeGroupAlias``."""
    return sql[sql.index(call) + len(call) :].startswith(",")


def _expand_call(name: str, arguments: Sequence[str], time: TimeRange, timescale: bool) -> str:
    if name not in _MACROS:
        raise PanelRefused(f"${name}(...) is not a known macro: {_list_macros()}")
    parameters, expansion = _MACROS[name]
    given = [argument for argument in arguments if argument]
    if len(given) != len(arguments) and arguments != [""]:
        raise PanelRefused(f"${name}({', '.join(arguments)}) has an empty argument")
    if any("(" in argument for argument in given):
        raise PanelRefused(
            f"${name}({', '.join(given)}: Grafana ends the arguments at the first closing parenthesis. "
            "Name the expression in a subquery and pass that name"
        )
    if "Group" in name and len(given) == 3:
        raise PanelRefused(f"${name} with a fill value: Grafana fills after the query. Fill in SQL instead")
    if len(given) != len(parameters):
        raise PanelRefused(f"${name}({', '.join(given)}): it takes ({', '.join(parameters)})")
    return expansion.format(**_expansion_fields(given, time, timescale))


def _list_macros() -> str:
    calls = [f"${name}({', '.join(parameters)})" for name, (parameters, _) in _MACROS.items()]
    return ", ".join([*calls, "$__interval", "$__interval_ms"])


def _quote_time(time: datetime) -> str:
    """Format a time like Go's RFC3339Nano, without trailing zeros of the fraction."""
    seconds, _, fraction = time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").partition(".")
    fraction = fraction.rstrip("0")
    return f"'{seconds}.{fraction}Z'" if fraction else f"'{seconds}Z'"


def _expansion_fields(given: Sequence[str], time: TimeRange, timescale: bool) -> dict[str, str]:
    """Return the arguments, the edges of the time range, and for an interval its time bucket."""
    fields = {
        "start": _quote_time(time.start),
        "end": _quote_time(time.end),
    }
    if given:
        fields["column"] = given[0]
    if len(given) == 2:
        seconds = durations.parse_duration(given[1].strip("'")) / timedelta(seconds=1)
        number = str(int(seconds)) if seconds == int(seconds) else repr(seconds)
        postgres_bucket = f"floor(extract(epoch from {given[0]})/{number})*{number}"
        fields["bucket"] = f"time_bucket('{seconds:.3f}s',{given[0]})" if timescale else postgres_bucket
    return fields
