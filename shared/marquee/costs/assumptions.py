"""Other values for what a bill assumes: ``recommend_ms=2``, ``partitions=8``, ``ingest.memory_gib=1``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from marquee.costs.load import Function, System, Work
from marquee.errors import SettingsError

FUNCTIONS = ("ingest", "recommend")


def names() -> dict[str, float]:
    """Everything that can be given another value, with the value it has."""
    return {**_numbers(Work()), **_numbers(System()), **_of_functions(System())}


def changed(pairs: Sequence[str]) -> tuple[Work, System]:
    """What ``pairs`` of name=value make of the defaults; raises :class:`SettingsError` that lists every problem."""
    values, problems = _parsed(pairs)
    if problems:
        raise SettingsError("\n".join(problems))
    work = replace(Work(), **_for(values, Work()))
    return work, _changed_system(values)


def _changed_system(values: dict[str, float]) -> System:
    system = System()
    functions: dict[str, Function] = {}
    for name in FUNCTIONS:
        own = {k.partition(".")[2]: v for k, v in values.items() if k.startswith(f"{name}.")}
        functions[name] = replace(getattr(system, name), **_typed(own, getattr(system, name)))
    return replace(system, **_for(values, system), **functions)  # type: ignore[arg-type]


def _for(values: dict[str, float], what: Work | System) -> Any:
    return _typed({name: value for name, value in values.items() if name in _numbers(what)}, what)


def _typed(values: dict[str, float], what: object) -> Any:
    """As the defaults are: whole numbers stay whole."""
    return {name: type(getattr(what, name))(value) for name, value in values.items()}


def _numbers(what: object) -> dict[str, float]:
    found = {f.name: getattr(what, f.name) for f in fields(what)}  # type: ignore[arg-type]
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _of_functions(system: System) -> dict[str, float]:
    return {
        f"{name}.{key}": value for name in FUNCTIONS for key, value in _numbers(getattr(system, name)).items()
    }


def _parsed(pairs: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    known = names()
    values: dict[str, float] = {}
    problems: list[str] = []
    for pair in pairs:
        name, _, raw = pair.partition("=")
        if name not in known:
            close = get_close_matches(name, known, n=1)
            problems.append(f"{name!r} is not known{f': did you mean {close[0]}?' if close else ''}")
        elif (value := _number(raw)) is None or value <= 0 or (_whole(known[name]) and value % 1):
            kind = "a whole number" if _whole(known[name]) else "a number"
            problems.append(f"{pair!r}: it should be {kind} above 0, such as {name}={known[name]:g}")
        else:
            values[name] = value
    return values, problems


def _whole(value: float) -> bool:
    return isinstance(value, int)


def _number(raw: str) -> float | None:
    try:
        return float(raw)
    except ValueError:
        return None
