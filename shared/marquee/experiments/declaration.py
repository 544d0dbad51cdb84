"""Declarations of experiments: arms, metrics, schedule and planned end.

People write declarations in YAML, and :func:`parse_declaration` validates the parsed document. The object store holds
the validated declaration as JSON, which :func:`decode_declaration` reads. A declaration does not change while its
experiment runs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import msgspec

from marquee.experiments.declared_arms import InvalidDeclaration, parse_arms, require_mapping
from marquee.experiments.harm_metrics import METRICS
from marquee.registry.policy import Policy

KINDS = ("canary", "experiment", "aa", "interleaving")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_PERCENT = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*%\s*")
_SLACK = 1e-9


class Margin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An effect size: absolute, or a fraction of the baseline if ``relative``; for `rates`, a fraction of the RMSE."""

    value: float
    relative: bool = False


class Guardrail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A metric that must not be harmed by more than ``margin``, measured ``window_min`` minutes after a list."""

    margin: Margin
    window_min: float = 60.0


class Primary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The deciding metric, and the smallest relevant effect, to which the confidence sequence is tuned."""

    metric: str
    effect: Margin


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times in minutes: minimum time at each share, minimum duration before a promotion, and planned end."""

    dwell_min: float
    at_least_min: float
    after_min: float


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A validated declaration. The first arm is control.

    - ``arms``: version by name; "" for the serving version or the one on the command line. An experiment of recipes
      starts with these
    - ``policies``: policies of the arms that do not have the serving one
    - ``recipes``: of an experiment of recipes, the sections of params.yaml that differ for an arm
    - ``ladder``: rising shares of the users for each treatment
    - ``undecided``: arm that remains at the planned end without a verdict; `promote` for the only treatment
    - ``local``: schedule on one machine
    """

    name: str
    kind: Literal["canary", "experiment", "aa", "interleaving"]
    arms: dict[str, str]
    policies: dict[str, Policy] = {}
    recipes: dict[str, dict[str, Any]] = {}
    ladder: tuple[float, ...]
    guardrails: dict[str, Guardrail]
    primary: Primary | None = None
    schedule: Schedule
    local: Schedule
    undecided: Literal["promote", "control"]

    @property
    def control(self) -> str:
        """Return the name of the control arm."""
        return next(iter(self.arms))

    @property
    def treatments(self) -> tuple[str, ...]:
        """Return the names of the arms other than control."""
        return tuple(self.arms)[1:]

    def on_one_machine(self) -> Declaration:
        """Return the declaration with the schedule of a local system."""
        return msgspec.structs.replace(self, schedule=self.local)

    def encode(self) -> bytes:
        """Return the JSON document for the object store."""
        return msgspec.json.encode(self)

    def digest(self) -> str:
        """Return the first 12 digits of the SHA-256 of the document, for the evidence of a release."""
        return hashlib.sha256(self.encode()).hexdigest()[:12]


def decode_declaration(data: bytes) -> Declaration:
    """Read a stored declaration. Raises :class:`InvalidDeclaration` if it is malformed or impossible."""
    try:
        declaration = msgspec.json.decode(data, type=Declaration)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDeclaration(f"the stored declaration is malformed: {error}") from error
    _check(declaration)
    return declaration


def parse_declaration(name: str, fields: object) -> Declaration:
    """Return the declaration of a YAML file's ``fields`` with the defaults of its kind.

    ``name`` is the name of the experiment. Raises :class:`InvalidDeclaration`, whose message names the field, its value
    and the valid ones.
    """
    if not isinstance(fields, Mapping) or not all(isinstance(key, str) for key in fields):
        raise InvalidDeclaration(f"{name}: a declaration is a mapping that begins with `kind: canary`; got {fields!r}")
    kind = fields.get("kind")
    if kind not in KINDS:
        raise InvalidDeclaration(f"{name}: kind must be one of {', '.join(KINDS)}; got {kind!r}")
    merged = _DEFAULTS[kind] | dict(fields)
    unknown = sorted(merged.keys() - _FIELDS)
    if unknown:
        raise InvalidDeclaration(f"{name}: unknown fields {', '.join(unknown)}; valid are {', '.join(sorted(_FIELDS))}")
    dwell = _number(f"{name}: dwell_min", merged["dwell_min"])
    schedule = _parse_schedule(f"{name}: ends", merged["ends"], dwell)
    local = _parse_schedule(f"{name}: local", require_mapping(f"{name}: local", merged["local"]), dwell)
    arms = parse_arms(f"{name}: arms", merged["arms"])
    document = {
        "name": name,
        "kind": kind,
        "arms": arms.versions,
        "recipes": arms.recipes,
        "ladder": merged["ladder"],
        "guardrails": {
            metric: _parse_guardrail(f"{name}: guardrails.{metric}", value)
            for metric, value in require_mapping(f"{name}: guardrails", merged["guardrails"]).items()
        },
        "primary": _parse_primary(f"{name}: primary", merged["primary"]),
        "schedule": schedule,
        "local": local,
        "undecided": require_mapping(f"{name}: ends", merged["ends"]).get("undecided", "control"),
    }
    try:
        declaration = msgspec.convert(document, Declaration)
    except msgspec.ValidationError as error:
        raise InvalidDeclaration(f"{name}: {error}") from error
    declaration = msgspec.structs.replace(declaration, policies=arms.policies)
    _check(declaration)
    return declaration


_CANARY: dict[str, Any] = {
    "arms": {"control": "", "canary": ""},
    "ladder": [0.02, 0.20, 0.50],
    "dwell_min": 10,
    "guardrails": {
        "answered": 0.005,
        "rates": "2 %",
        "ranks": 0.02,
        "watched": {"margin": "20 %", "window_min": 60},
    },
    "primary": None,
    "ends": {"after_h": 12, "undecided": "promote"},
    "local": {"dwell_min": 0.25, "after_min": 3},
}
_LONG: dict[str, Any] = {
    "dwell_min": 60,
    "ends": {"after_days": 14, "at_least_days": 7, "undecided": "control"},
    "guardrails": {"answered": 0.005, "rates": "2 %", "watched": "3 %"},
    "local": {"dwell_min": 0.25, "after_min": 10},
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "canary": _CANARY,
    "experiment": _CANARY | _LONG | {"arms": None, "primary": {"metric": "minutes", "effect": "2 %"}},
    "aa": _CANARY | _LONG | {"arms": {"control": "", "same": ""}, "primary": {"metric": "minutes", "effect": "2 %"}},
    "interleaving": _CANARY
    | _LONG
    | {"arms": None, "guardrails": {"answered": 0.005}, "ends": {"after_days": 7}}
    | {"primary": {"metric": "preferred", "effect": 0.02}},
}
_FIELDS = frozenset({"kind", *_CANARY})
_UNITS = {"min": 1.0, "h": 60.0, "days": 1440.0}


def _parse_schedule(where: str, value: object, dwell: float) -> dict[str, float]:
    """Return a schedule of ``after_*`` and ``at_least_*`` in any unit; the end is required."""
    fields = require_mapping(where, value)
    valid = {f"{stem}_{unit}": (stem, scale) for stem in ("after", "at_least") for unit, scale in _UNITS.items()}
    times = {"dwell_min": dwell, "at_least_min": 0.0}
    for key, raw in fields.items():
        if key in valid:
            stem, scale = valid[key]
            times[f"{stem}_min"] = _number(f"{where}.{key}", raw) * scale
        elif key == "dwell_min":
            times[key] = _number(f"{where}.{key}", raw)
        elif key != "undecided":
            raise InvalidDeclaration(f"{where}: unknown field {key}; valid are undecided, {', '.join(valid)}")
    if "after_min" not in times:
        raise InvalidDeclaration(f"{where}: the planned end is missing; write after_h: 12, after_days or after_min")
    return times


def _parse_guardrail(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {"margin": _parse_margin(where, value)}
    if unknown := sorted(value.keys() - {"margin", "window_min"}):
        raise InvalidDeclaration(f"{where}: unknown fields {', '.join(unknown)}; valid are margin and window_min")
    window = _number(f"{where}.window_min", value.get("window_min", 60))
    return {"margin": _parse_margin(f"{where}.margin", value.get("margin")), "window_min": window}


def _parse_primary(where: str, value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    fields = require_mapping(where, value)
    if set(fields) != {"metric", "effect"}:
        raise InvalidDeclaration(f"{where}: write metric and effect, such as {{metric: minutes, effect: 2 %}}")
    return {"metric": fields["metric"], "effect": _parse_margin(f"{where}.effect", fields["effect"])}


def _parse_margin(where: str, value: object) -> dict[str, Any]:
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        return {"value": float(match[1]) / 100, "relative": True}
    if isinstance(value, str):
        raise InvalidDeclaration(f"{where}: a size is a number, or a percentage such as 2 %; got {value!r}")
    return {"value": _number(where, value)}


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidDeclaration(f"{where}: a number above 0 is needed; got {value!r}")
    return float(value)


def _check(declaration: Declaration) -> None:
    """Raise :class:`InvalidDeclaration` if the fields contradict each other."""
    name, arms = declaration.name, declaration.arms
    if not all(_NAME.fullmatch(text) for text in (name, *arms)):
        raise InvalidDeclaration(f"{name}: names of experiments and arms consist of a-z, 0-9, - and _; got {[*arms]}")
    if len(arms) < 2 or (len(arms) > 2 and declaration.kind != "experiment"):
        raise InvalidDeclaration(
            f"{name}: a {declaration.kind} has two arms, an experiment at least two; got {[*arms]}"
        )
    top, ladder = 1 / len(arms), declaration.ladder
    rising = all(a < b for a, b in pairwise(ladder))
    if not ladder or not rising or ladder[0] <= 0 or ladder[-1] > top + _SLACK:
        raise InvalidDeclaration(
            f"{name}: ladder holds rising shares of one arm, each above 0 and at most {top:.3g}, because control is as "
            f"large; got {list(ladder)}"
        )
    used = [*declaration.guardrails, *([declaration.primary.metric] if declaration.primary else [])]
    if unknown := [metric for metric in used if metric not in METRICS]:
        raise InvalidDeclaration(f"{name}: unknown metrics {', '.join(unknown)}; valid are {', '.join(METRICS)}")
    if declaration.kind == "interleaving":
        _check_interleaving(declaration)
    elif "preferred" in used:
        raise InvalidDeclaration(f"{name}: preferred is a metric of kind interleaving alone")
    if declaration.recipes and declaration.kind != "experiment":
        raise InvalidDeclaration(f"{name}: only an experiment compares recipes; a {declaration.kind} compares versions")
    if not declaration.guardrails:
        raise InvalidDeclaration(f"{name}: at least one guardrail is needed; valid are {', '.join(METRICS)}")
    if (declaration.primary is None) != (declaration.kind == "canary"):
        raise InvalidDeclaration(f"{name}: every kind but canary has a primary metric, and a canary has none")
    for schedule in (declaration.schedule, declaration.local):
        if schedule.at_least_min > schedule.after_min:
            raise InvalidDeclaration(f"{name}: the least length is after the planned end")


def _check_interleaving(declaration: Declaration) -> None:
    """Raise unless the metrics can be measured on lists that both arms share."""
    if declaration.primary is None or declaration.primary.metric != "preferred":
        raise InvalidDeclaration(f"{declaration.name}: the primary metric of an interleaving is preferred")
    valid = [name for name, metric in METRICS.items() if metric.kind != "ratio" and name != "preferred"]
    if wrong := [metric for metric in declaration.guardrails if metric not in valid]:
        raise InvalidDeclaration(
            f"{declaration.name}: users of both arms get the same lists, so the guardrails of an interleaving are some "
            f"of {', '.join(valid)}; got {', '.join(wrong)}"
        )
