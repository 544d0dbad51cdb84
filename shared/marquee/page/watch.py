"""The alert rules watched in the background of the page, so that an alert fires on time though nobody looks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from marquee.errors import MarqueeError
from marquee.monitoring.alerts.alert import Alert
from marquee.monitoring.alerts.watcher import Watcher

EVERY_S = 10.0
_log = logging.getLogger(__name__)


@contextmanager
def watched(watcher: Watcher, every_s: float = EVERY_S) -> Iterator[Callable[[], Sequence[Alert]]]:
    """What gives the alerts as they were last found, while a thread evaluates the rules that are due."""
    stop, found = threading.Event(), list[Alert]()

    def watch() -> None:
        while not stop.is_set():
            try:
                found[:] = watcher.evaluate(datetime.now(UTC))
            except (MarqueeError, OSError) as error:  # Of the file of states; the database's are states.
                _log.warning("the alert rules could not be evaluated: %s", error)
            stop.wait(every_s)

    thread = threading.Thread(target=watch, name="alerts", daemon=True)
    thread.start()
    try:
        yield lambda: tuple(found)
    finally:
        stop.set()
        thread.join(5)
