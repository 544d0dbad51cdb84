"""Retention for the embedded broker, which has none of its own.

The broker keeps each batch as a file and lists all of them for every fetch: with thousands of batches a fetch
takes seconds. The batches that the bridge has committed are therefore deleted, except the newest ones.
"""

from __future__ import annotations

import json
import logging
import threading
from itertools import pairwise
from pathlib import Path

log = logging.getLogger(__name__)

RETAINED_BATCHES = 100
TRIM_INTERVAL_S = 2.0
_CLUSTER = "kafka-data/tansu/clusters/tansu_cluster"


class KafkaRetention:
    """A thread that trims ``topic`` in a broker's directory behind the consumer group ``group``."""

    def __init__(self, directory: Path, topic: str, group: str, retained: int = RETAINED_BATCHES) -> None:
        self._partitions = directory / _CLUSTER / "topics" / topic / "partitions"
        self._offsets = directory / _CLUSTER / "groups/consumers" / group / "offsets" / topic / "partitions"
        self._retained = retained
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Trim every :data:`TRIM_INTERVAL_S` seconds from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop trimming."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def trim(self) -> int:
        """Delete committed batches, except the newest ``retained`` per partition; return their number."""
        return sum(self._trim_partition(partition) for partition in self._partitions.glob("*"))

    def _trim_partition(self, partition: Path) -> int:
        # The name of a batch is its first offset with leading zeros.
        batches = sorted((partition / "records").glob("*.batch"))
        committed = self._committed_offset(partition.name)
        # A batch ends where the next one begins, so the end of the last one is unknown.
        old = [batch for batch, following in pairwise(batches) if int(following.stem) <= committed]
        old = old[: max(0, len(batches) - self._retained)]
        for batch in old:
            batch.unlink(missing_ok=True)
        return len(old)

    def _committed_offset(self, partition: str) -> int:
        try:
            return int(json.loads((self._offsets / f"{partition}.json").read_bytes())["offset"])
        except (FileNotFoundError, ValueError, KeyError):
            return 0

    def _run(self) -> None:
        while not self._stopping.wait(TRIM_INTERVAL_S):
            try:
                self.trim()
            except OSError as error:
                log.warning("Kafka's committed batches could not be deleted: %s", error)
