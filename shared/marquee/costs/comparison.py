"""The two bills beside each other, and the load at which they cost the same."""

from __future__ import annotations

from dataclasses import dataclass

from marquee.costs.bill import Bill, functions_bill, machine_bill
from marquee.costs.load import Load, System, Work
from marquee.costs.prices import Prices

FURTHEST = 1_000.0
"""How many times the load is looked at for a break-even."""
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Comparison:
    """Bills at ``load`` and at none. ``break_even``: the load of the same mixture above which the machine is cheaper;
    None: up to a thousand times the load it never is; a load of 0: it always is.
    """

    load: Load
    functions: Bill
    machine: Bill
    functions_at_zero: Bill
    machine_at_zero: Bill
    break_even: Load | None


def compare(load: Load, prices: Prices, work: Work, system: System) -> Comparison:
    """Everything that ``marquee cost`` shows."""
    nothing = load.times(0)
    return Comparison(
        load,
        functions_bill(load, prices, work, system),
        machine_bill(load, prices, work, system),
        functions_bill(nothing, prices, work, system),
        machine_bill(nothing, prices, work, system),
        break_even(load, prices, work, system),
    )


def break_even(load: Load, prices: Prices, work: Work, system: System) -> Load | None:
    """Found on a grid of factors from a thousandth to a thousand, then between two of them by halving."""

    def dearer(factor: float) -> bool:
        at = load.times(factor)
        functions = functions_bill(at, prices, work, system).total
        return functions > machine_bill(at, prices, work, system).total

    grid = [0.0] + [10 ** (6 * step / _STEPS - 3) for step in range(_STEPS + 1)]
    above = next((number for number, factor in enumerate(grid) if dearer(factor)), None)
    if above is None:
        return None
    if above == 0:
        return load.times(0)
    low, high = grid[above - 1], grid[above]
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if dearer(middle) else (middle, high)
    return load.times(high)
