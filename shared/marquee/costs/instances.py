"""How many instances of a function are billed, on the average, for the requests that come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEP_S = 0.1
"""Cloud Run bills an instance's busy time in steps of 100 ms."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests of one kind: how many a second, how long each takes by the clock, and of a processor."""

    per_second: float
    seconds: float
    cpu_s: float

    @property
    def billed(self) -> float:
        """Seconds billed a second, did no two requests share an instance."""
        return self.per_second * math.ceil(round(self.seconds / STEP_S, 9)) * STEP_S


def billed_instances(flows: Sequence[Flow], *, concurrency: int, vcpu: float, busy_share: float) -> float:
    """The mean number of instances that are being billed.

    With little load one instance is busy while any request is under way: of requests that come at random and take
    ``s`` seconds each, that is 1 - exp(-rate * s) of the time (the M/G/inf queue). With more, further instances are
    started before processors or places are full, at ``busy_share`` of them.
    """
    one = -math.expm1(-sum(flow.billed for flow in flows))
    by_processor = sum(flow.per_second * flow.cpu_s for flow in flows) / (busy_share * vcpu)
    by_places = sum(flow.per_second * flow.seconds for flow in flows) / (busy_share * concurrency)
    return max(one, by_processor, by_places)
