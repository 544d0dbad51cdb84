"""A little of ``make fuzz``, and what it has found."""

from __future__ import annotations

import pytest
from tests.fuzz.targets import BATCH, function, read_lines, send_requests

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_mutated_line_is_read_once(seed: int) -> None:
    """As an event or as malformed, and by the short cut as by the parser."""
    assert 0 < read_lines(seed) < BATCH


@pytest.mark.servers
def test_malformed_envelopes_are_acknowledged(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception and no 5xx for bad content: 204, and kept, in the quarantine or in rejected_events."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    app = function()
    for seed in SEEDS:
        send_requests(app, seed, 200)
