"""Tests of the declaration: defaults, checks, and the stored document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from marquee.experiments.declaration import (
    Declaration,
    Margin,
    decode_declaration,
    parse_declaration,
)
from marquee.experiments.declared_arms import InvalidDeclaration

ARMS = {"arms": {"control": "params.yaml", "trend": "experiments/trend.params.yaml"}}


def test_parse_declaration_canary_has_the_documented_defaults() -> None:
    """A canary needs nothing but its kind: three shares, four guardrails, twelve hours."""
    declaration = parse_declaration("canary", {"kind": "canary"})
    assert declaration.ladder == (0.02, 0.2, 0.5)
    assert (declaration.control, declaration.treatments) == ("control", ("canary",))
    assert declaration.guardrails["rates"].margin == Margin(0.02, relative=True)
    assert declaration.guardrails["ranks"].margin == Margin(0.02)
    assert (declaration.schedule.dwell_min, declaration.schedule.after_min) == (10, 720)
    assert declaration.undecided == "promote"
    assert declaration.primary is None


def test_parse_declaration_experiment_reads_units_and_percentages() -> None:
    """Times are in days, hours or minutes, sizes absolute or in percent of the baseline."""
    declaration = parse_declaration(
        "trend-2",
        {
            "kind": "experiment",
            **ARMS,
            "primary": {"metric": "minutes", "effect": "2 %"},
            "ends": {"after_days": 14, "at_least_h": 36, "undecided": "control"},
        },
    )
    assert declaration.primary
    assert declaration.primary.effect == Margin(0.02, relative=True)
    assert (declaration.schedule.after_min, declaration.schedule.at_least_min) == (14 * 1440, 36 * 60)


@pytest.mark.parametrize("kind", ["canary", "experiment", "aa", "interleaving"])
def test_decode_declaration_stored_document_is_the_declaration(kind: str) -> None:
    """The stored JSON gives the same declaration and digest again, also with the schedule of one machine."""
    declaration = parse_declaration("x", {"kind": kind, **ARMS})
    assert decode_declaration(declaration.encode()) == declaration
    local = declaration.on_one_machine()
    assert local.schedule == declaration.local != declaration.schedule
    assert declaration.digest() == decode_declaration(declaration.encode()).digest() != local.digest()


INVALID: list[tuple[Any, str]] = [
    (None, "a declaration is a mapping"),
    ({"kind": "bandit"}, "kind must be one of canary, experiment, aa, interleaving; got 'bandit'"),
    ({"kind": "canary", "wait": 3}, "unknown fields wait; valid are"),
    ({"kind": "canary", "ladder": [0.2, 0.6]}, "at most 0.5"),
    ({"kind": "canary", "ladder": [0.2, 0.1]}, "rising shares"),
    ({"kind": "canary", "ladder": []}, "rising shares"),
    ({"kind": "canary", "ladder": "all"}, "Expected `array`"),
    ({"kind": "canary", "dwell_min": -1}, "dwell_min: a number above 0 is needed; got -1"),
    ({"kind": "canary", "dwell_min": True}, "dwell_min: a number above 0"),
    ({"kind": "canary", "guardrails": {}}, "at least one guardrail"),
    ({"kind": "canary", "guardrails": {"clicks": 0.1}}, "unknown metrics clicks; valid are answered"),
    ({"kind": "canary", "guardrails": {"rates": "two"}}, "a percentage such as 2 %; got 'two'"),
    ({"kind": "canary", "guardrails": {"rates": {"margin": 0.1, "wide": 1}}}, "unknown fields wide"),
    ({"kind": "canary", "primary": {"metric": "minutes", "effect": 1}}, "a canary has none"),
    ({"kind": "canary", "ends": {"undecided": "promote"}}, "the planned end is missing"),
    ({"kind": "canary", "ends": {"after_weeks": 2}}, "unknown field after_weeks"),
    ({"kind": "canary", "ends": {"after_h": 2, "undecided": "wait"}}, "Invalid enum value"),
    ({"kind": "canary", "arms": {"control": "a", "b": "c", "d": "e"}}, "a canary has two arms"),
    ({"kind": "experiment", "arms": {"Control": "a", "b": "c"}}, "consist of a-z"),
    ({"kind": "experiment"}, "arms"),
    ({"kind": "experiment", **ARMS, "primary": {"metric": "minutes"}}, "write metric and effect"),
    ({"kind": "experiment", **ARMS, "ends": {"after_days": 3, "at_least_days": 7}}, "after the planned end"),
]


@pytest.mark.parametrize(("fields", "message"), INVALID)
def test_parse_declaration_invalid_field_raises_with_the_valid_values(fields: Any, message: str) -> None:
    """The error names the file, what arrived and what is valid."""
    with pytest.raises(InvalidDeclaration, match=r"^trial: ") as raised:
        parse_declaration("trial", fields)
    assert message in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"name": "x"}'])
def test_decode_declaration_malformed_document_raises(data: bytes) -> None:
    with pytest.raises(InvalidDeclaration, match="malformed"):
        decode_declaration(data)


def test_decode_declaration_impossible_document_raises() -> None:
    """A document that no program stored is checked like a file."""
    document = parse_declaration("x", {"kind": "canary"}).encode().replace(b"[0.02,0.2,0.5]", b"[0.02,0.9]")
    with pytest.raises(InvalidDeclaration, match=r"at most 0\.5"):
        decode_declaration(document)


def test_declaration_three_arms_bounds_the_ladder_by_equal_arms() -> None:
    """Each of three arms gets at most a third of the users."""
    fields: dict[str, Any] = {"kind": "experiment", "arms": {"control": "a", "b": "b", "c": "c"}}
    with pytest.raises(InvalidDeclaration, match=r"at most 0\.333"):
        parse_declaration("x", fields)
    declaration: Declaration = parse_declaration("x", fields | {"ladder": [0.1, 1 / 3]})
    assert declaration.treatments == ("b", "c")


def test_parse_declaration_documented_file_is_the_default_canary() -> None:
    """The page shows the defaults themselves."""
    page = (Path(__file__).parents[2] / "docs/experiments.md").read_text()
    fields = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    assert parse_declaration("canary", fields) == parse_declaration("canary", {"kind": "canary"})
