"""An event that signals set."""

from __future__ import annotations

import signal
from threading import Event, Thread


def set_on_signals(*numbers: signal.Signals) -> Event:
    """Return an event that each of the signals sets from now on.

    A thread of its own sets it. A handler runs in the main thread, which may hold the event's lock at that moment: it
    would wait for itself for ever.
    """
    stop = Event()
    for number in numbers:
        signal.signal(number, lambda *_: Thread(target=stop.set, daemon=True).start())
    return stop
