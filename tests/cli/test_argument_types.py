"""Number types of the command line, and the text tables."""

from __future__ import annotations

import argparse

import pytest

from marquee.cli.argument_types import bounded_float, bounded_int
from marquee.cli.text_table import difference_text, interval_text, markdown_table, short_number, text_table
from marquee.registry.manifest import Metric


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("5", 5), (" 3 ", 3)])
def test_bounded_int_in_range_returns_value(text: str, value: int) -> None:
    """Both bounds are included."""
    assert bounded_int(1, 5)(text) == value


@pytest.mark.parametrize("text", ["0", "6", "1.5", "many", ""])
def test_bounded_int_out_of_range_is_refused(text: str) -> None:
    """The message has the value and the range."""
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}': expected an integer from 1 to 5"):
        bounded_int(1, 5)(text)


def test_bounded_int_without_maximum_accepts_large_values() -> None:
    """Only the lower bound holds."""
    assert bounded_int(1)("1000000000") == 1_000_000_000
    with pytest.raises(argparse.ArgumentTypeError, match="of at least 1"):
        bounded_int(1)("0")


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "inf", "x"])
def test_bounded_float_out_of_range_is_refused(text: str) -> None:
    """NaN and infinity are no numbers here."""
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number from 0 to 1"):
        bounded_float(0, 1)(text)


def test_bounded_float_open_bound_is_excluded() -> None:
    """``open_low`` excludes the lower bound."""
    assert bounded_float(0, 1)("0") == 0
    with pytest.raises(argparse.ArgumentTypeError, match="above 0 and at most 1"):
        bounded_float(0, 1, open_low=True)("0")
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number above 0"):
        bounded_float(0, open_low=True)("inf")


def test_text_table_aligns_columns() -> None:
    """Columns are as wide as their widest cell; no line ends with spaces."""
    assert text_table(("a", "long"), [("xyz", "1"), ("y", "")]) == "a    long\nxyz  1\ny"
    assert text_table(("a", "b"), []) == "a  b"


def test_markdown_table_aligns_named_columns_to_the_right() -> None:
    """The rule below the header has the alignment."""
    assert markdown_table(("a", "b"), [("1", "2")], right=["b"]) == "| a | b |\n|---|---:|\n| 1 | 2 |"


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (999, "999"), (1_580, "1.58k"), (25.4e6, "25.4M"), (3e9, "3G")])
def test_short_number_has_three_digits_and_prefix(value: float, text: str) -> None:
    """Thousands, millions and billions have an SI prefix."""
    assert short_number(value) == text


def test_interval_text_shows_what_was_measured() -> None:
    """A metric is shown with its interval, alone if it has none, and as a hyphen if it was not measured."""
    assert interval_text(Metric(0.9512, 0.94, 0.962)) == "0.951 [0.940, 0.962]"
    assert difference_text(Metric(0.02, -0.01, 0.05), 2) == "+0.02 [-0.01, +0.05]"
    assert interval_text(Metric(0.5)) == "0.500"
    assert interval_text(None) == "-"
