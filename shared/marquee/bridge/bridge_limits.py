"""Limits of a bridge: the size of a batch, and the number of batches in flight."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BridgeLimits:
    """Limits of one bridge.

    The defaults are constants rather than settings: no deployment has needed other values. Tests pass their own.
    """

    max_records: int = 20_000
    """Records of one batch."""
    max_bytes: int = 4_000_000
    """Bytes of one envelope's data; Pub/Sub accepts messages of up to 10 MB. A longer record is delivered alone."""
    max_wait_s: float = 0.25
    """Seconds that a record waits for its batch to fill."""
    max_in_flight: int = 8
    """Batches of one partition that are submitted and not yet accepted."""
    drain_s: float = 5.0
    """Seconds to wait for batches in flight before a partition is given up."""
    delivery_timeout_s: float = 30.0
    """Seconds that one attempt to send a batch may take."""
    delivery_concurrency: int = 4
    """Attempts in flight at one time."""


DEFAULT_LIMITS = BridgeLimits()
