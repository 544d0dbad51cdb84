"""Limits of a bridge: the size of a batch, and the number of batches in flight.

They are constants rather than settings: no deployment has needed other values. Tests pass their own.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_BATCH_RECORDS = 20_000
MAX_BATCH_BYTES = 4_000_000
"""Pub/Sub accepts messages of up to 10 MB."""
MAX_BATCH_WAIT_S = 0.25
MAX_BATCHES_IN_FLIGHT = 8
DELIVERY_TIMEOUT_S = 30.0
DELIVERY_CONCURRENCY = 4
DRAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class BridgeLimits:
    """Limits of one bridge; the defaults are those of every deployment."""

    max_records: int = MAX_BATCH_RECORDS
    """Records of one batch."""
    max_bytes: int = MAX_BATCH_BYTES
    """Bytes of one envelope's data. A longer record is delivered in a batch of its own."""
    max_wait_s: float = MAX_BATCH_WAIT_S
    """Seconds that a record waits for its batch to fill."""
    max_in_flight: int = MAX_BATCHES_IN_FLIGHT
    """Batches of one partition that are submitted and not yet accepted."""
    drain_s: float = DRAIN_S
    """Seconds to wait for batches in flight before a partition is given up."""
    delivery_timeout_s: float = DELIVERY_TIMEOUT_S
    """Seconds that one attempt to send a batch may take."""
    delivery_concurrency: int = DELIVERY_CONCURRENCY
    """Attempts in flight at one time."""


DEFAULT_LIMITS = BridgeLimits()
