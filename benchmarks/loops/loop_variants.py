"""Variants of the system that the simulation compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from marquee.serving.exploration import NO_EXPLORATION, Exploration
from marquee.training.tuning import TREND, WEIGHT

NO_LISTS = "uniform lists"
"""The reference without a recommender: lists are drawn uniformly at random."""
PLAIN = "no exploration"
FORMER, CONFIRMED = "share 0.01, tail 3, pool 9", "share 0.001, tail 1, pool 40"
"""Names of the default exploration until 2026-11 and of the one since then."""


@dataclass(frozen=True, slots=True)
class LoopVariant:
    """Exploration and diversity of the lists, and training parameters that override the tuned ones."""

    name: str
    exploration: Exploration = NO_EXPLORATION
    diversity: float = 0.0
    parameters: Mapping[str, float] = field(default_factory=dict)


_NARROW, _WIDE = Exploration(0.01, 3, 9), Exploration(0.001, 1, 40)
VARIANTS: tuple[LoopVariant, ...] = (
    LoopVariant(PLAIN),
    LoopVariant(FORMER, _NARROW),
    LoopVariant(CONFIRMED, _WIDE),
    LoopVariant("share 0.05, tail 3, pool 100", Exploration(0.05, 3, 100)),
    LoopVariant("diversity 0.3", diversity=0.3),
    LoopVariant("diversity 0.7", diversity=0.7),
    LoopVariant(f"diversity 0.3, {CONFIRMED}", _WIDE, 0.3),
    LoopVariant("no popularity terms", parameters={TREND: 0.0, WEIGHT: 0.0}),
    LoopVariant("popularity penalty 5", parameters={TREND: 0.0, WEIGHT: -5.0}),
    LoopVariant(NO_LISTS, Exploration(1.0, 0, 0)),
)
"""All variants. One that does not override the popularity terms uses those that tuning chose."""
