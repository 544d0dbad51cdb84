"""Bounds on the memory of the embedded broker, which never frees a record."""

from __future__ import annotations

import time
from collections.abc import Callable

from marquee.config.settings import Settings
from marquee.errors import KafkaUnavailable
from marquee.local.unread_records import unread_age_s

# From here on the topic is replaced by an empty one.
KAFKA_MEMORY_MB = 1_000.0
# Without records for this long, no producer is about to write.
IDLE_S = 4.0
# Time for the last records at the end.
DRAIN_S = 15.0


def is_idle(settings: Settings) -> bool:
    """Return True if everything is read, and no record arrives for :data:`IDLE_S` seconds."""
    for _ in range(2):
        if unread_age_s(settings) > 0:
            return False
        time.sleep(IDLE_S / 2)
    return True


def wait_until_read(settings: Settings, notify: Callable[[str], None]) -> None:
    """Give the bridge time to write the records that are lost when the broker stops, and report those that remain."""
    deadline = time.monotonic() + DRAIN_S
    try:
        while (age_s := unread_age_s(settings)) and time.monotonic() < deadline:
            time.sleep(0.2)
    except KafkaUnavailable as error:
        notify(f"unread records are lost with the broker in memory: {error}")
        return
    if age_s:
        notify(
            f"unread records are lost with the broker in memory, the oldest {age_s:.0f} s old; "
            "`--durable-kafka` keeps them"
        )
