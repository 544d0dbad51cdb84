"""Checks of arguments: number types for argparse, with the range in the message, and user ids."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from marquee.config.opaque_ids import VALID_ID, is_valid_id
from marquee.errors import SettingsError

LIKES = "likes"
"""In place of a rating scale: the ratings are likes and dislikes."""


def bounded_int(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return an argparse type for an integer from ``low`` to ``high``, both included; None is no upper bound."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text!r}: expected an integer {_range(low, high)}")
        return value

    return parse


def bounded_float(low: float, high: float | None = None, *, open_low: bool = False) -> Callable[[str], float]:
    """Return an argparse type for a finite number from ``low`` to ``high``; ``open_low`` excludes ``low``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        below = value <= low if open_low else value < low
        if not math.isfinite(value) or below or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text!r}: expected a number {_range(low, high, open_low)}")
        return value

    return parse


def rating_scale(text: str) -> tuple[float, float]:
    """Parse a rating scale such as ``0.5-5``; an argparse type."""
    low, _, high = text.partition("-")
    try:
        scale = float(low), float(high)
    except ValueError:
        scale = (math.nan, math.nan)
    if not (math.isfinite(scale[0]) and math.isfinite(scale[1]) and scale[0] < scale[1]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected the lowest and highest rating, such as 1-10 or 0.5-5")
    return scale


def scale_or_likes(text: str) -> tuple[float, float] | str:
    """Parse a rating scale, or the word ``likes``; an argparse type."""
    return LIKES if text == LIKES else rating_scale(text)


def check_user_id(text: str) -> None:
    """Raise :class:`SettingsError` if ``text`` is not a user id."""
    if not is_valid_id(text):
        raise SettingsError(f"{text[:80]!a} is not a user id: it should be {VALID_ID}")


def _range(low: float, high: float | None, open_low: bool = False) -> str:
    if high is None:
        return f"above {low:g}" if open_low else f"of at least {low:g}"
    return f"above {low:g} and at most {high:g}" if open_low else f"from {low:g} to {high:g}"
