"""An event that signals set."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from marquee.cli.stop_signals import set_on_signals


@pytest.fixture
def restored_handler() -> Iterator[None]:
    previous = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, previous)


@pytest.mark.usefixtures("restored_handler")
@pytest.mark.timeout(30)
def test_set_on_signals_while_the_event_is_locked_sets_it_afterwards() -> None:
    """A signal that arrives while the main thread enters or leaves ``wait`` does not lock the process up."""
    stop = set_on_signals(signal.SIGUSR1)
    with stop._cond:  # type: ignore[attr-defined]  # Held within `wait`, for a moment that no test can hit.
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert not stop.is_set()
    assert stop.wait(10)
