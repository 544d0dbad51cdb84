"""Retention for the embedded broker, which enforces none.

It keeps each batch as a file, and lists them all for every fetch: after some thousands of them a fetch
takes seconds. So what the bridge has committed is removed, but for the newest batches, as a real broker
removes what is past its time.
"""

from __future__ import annotations

import json
import logging
import threading
from itertools import pairwise
from pathlib import Path

log = logging.getLogger(__name__)

KEPT = 100
TRIM_INTERVAL_S = 2.0
_CLUSTER = "kafka-data/tansu/clusters/tansu_cluster"


class KafkaRetention:
    """Trims ``topic`` in a broker's directory as the consumer group ``group`` moves on; runs in a thread."""

    def __init__(self, directory: Path, topic: str, group: str, kept: int = KEPT) -> None:
        self._partitions = directory / _CLUSTER / "topics" / topic / "partitions"
        self._offsets = directory / _CLUSTER / "groups/consumers" / group / "offsets" / topic / "partitions"
        self._kept = kept
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begin to trim every few seconds."""
        self._thread.start()

    def stop(self) -> None:
        """Trim no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def trim(self) -> int:
        """Remove batches whose lines are all committed, the newest ``kept`` of a partition excepted."""
        return sum(self._trim(partition) for partition in self._partitions.glob("*"))

    def _trim(self, partition: Path) -> int:
        # The name of a batch is its first offset, with leading noughts.
        batches = sorted((partition / "records").glob("*.batch"))
        committed = self._committed(partition.name)
        # A batch ends where the next one begins, so the last one is never known to be done with.
        old = [this for this, after in pairwise(batches) if int(after.stem) <= committed]
        old = old[: max(0, len(batches) - self._kept)]
        for batch in old:
            batch.unlink(missing_ok=True)
        return len(old)

    def _committed(self, partition: str) -> int:
        try:
            return int(json.loads((self._offsets / f"{partition}.json").read_bytes())["offset"])
        except (FileNotFoundError, ValueError, KeyError):
            return 0

    def _run(self) -> None:
        while not self._stopping.wait(TRIM_INTERVAL_S):
            try:
                self.trim()
            except OSError as error:
                log.warning("Kafka's old batches could not be removed: %s", error)
