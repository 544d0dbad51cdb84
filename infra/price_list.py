"""The price list of ``infra/prices.yaml``."""

from __future__ import annotations

import datetime
from typing import Annotated

from msgspec import Meta, Struct

Positive = Annotated[float, Meta(gt=0)]


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """``usd`` for each ``per`` units a month; the first ``free`` units are not charged."""

    usd: Positive
    per: Positive
    free: float
    unit: str

    def amount(self, quantity: float) -> float:
        """Return the price of ``quantity`` units a month."""
        return max(0.0, quantity - self.free) / self.per * self.usd


class Machine(Struct, frozen=True, forbid_unknown_fields=True):
    """A virtual machine that is always on."""

    name: str
    vcpu: Positive
    memory_gib: Positive
    usd_per_hour: Positive


class PriceList(Struct, frozen=True, forbid_unknown_fields=True):
    """``infra/prices.yaml``, which explains each assumption; ``machines`` are ordered, the smallest first."""

    date: datetime.date
    region: str
    source: str
    prices: dict[str, Price]
    machines: Annotated[tuple[Machine, ...], Meta(min_length=1)]
    runs: dict[str, dict[str, Positive]]
    assumptions: dict[str, Positive]
