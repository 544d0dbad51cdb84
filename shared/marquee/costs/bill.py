"""From what is used to what it costs: each part's share, the free quantities taken off once for all parts together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from marquee.costs import machine as machines
from marquee.costs import usage
from marquee.costs.load import MONTH_H, Load, System, Work
from marquee.costs.prices import Price, Prices
from marquee.costs.usage import Use


@dataclass(frozen=True, slots=True)
class Charge:
    """What a part pays for one resource, in US dollars a month."""

    part: str
    price: Price
    quantity: float
    usd: float


@dataclass(frozen=True, slots=True)
class Bill:
    """A month: charges in the order of the parts."""

    charges: tuple[Charge, ...]

    @property
    def total(self) -> float:
        """US dollars a month."""
        return sum(charge.usd for charge in self.charges)

    @property
    def parts(self) -> dict[str, float]:
        """US dollars a month by part."""
        sums: dict[str, float] = defaultdict(float)
        for charge in self.charges:
            sums[charge.part] += charge.usd
        return dict(sums)

    def of(self, part: str) -> tuple[Charge, ...]:
        """The charges of one part."""
        return tuple(charge for charge in self.charges if charge.part == part)


def functions_bill(load: Load, prices: Prices, work: Work, system: System) -> Bill:
    """The system as it is: functions, bridge, Pub/Sub."""
    return Bill(_charged(usage.uses(load, work, system), prices))


def machine_bill(load: Load, prices: Prices, work: Work, system: System) -> Bill:
    """The same on a machine that is always on."""
    machine, count = machines.fitting(load, work, system, prices)
    hour = Price(machine.usd_per_hour, 1, 0, "h", machine.name)
    own = Charge("machine", hour, count * MONTH_H, hour.of(count * MONTH_H))
    return Bill((own, *_charged(machines.uses(load, work, system), prices)))


def _charged(uses: Iterable[Use], prices: Prices) -> tuple[Charge, ...]:
    """A resource's free quantity is shared by the parts that use it, by how much each uses."""
    wanted = list(uses)
    table = price_table(prices)
    totals: dict[str, float] = defaultdict(float)
    for use in wanted:
        totals[use.resource] += use.quantity
    return tuple(
        Charge(use.part, table[use.resource], use.quantity, _fraction(use, totals, table)) for use in wanted
    )


def _fraction(use: Use, totals: Mapping[str, float], table: Mapping[str, Price]) -> float:
    total = totals[use.resource]
    return table[use.resource].of(total) * use.quantity / total if total else 0.0


def price_table(prices: Prices) -> dict[str, Price]:
    """Each price by its name; no name is in two of the tables."""
    return {
        name: getattr(table, name)
        for table in (prices.google, prices.options)
        for name in table.__struct_fields__
    }
