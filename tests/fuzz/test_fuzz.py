"""A short run of ``make fuzz``."""

from __future__ import annotations

import pytest
from tests.fuzz.targets import BATCH_SIZE, create_ingest, parse_mutated, send_requests

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_parse_records_mutated_records_are_parsed_once(seed: int) -> None:
    """As an event or as malformed, and the fast path agrees with the parser."""
    assert 0 < parse_mutated(seed) < BATCH_SIZE


@pytest.mark.servers
def test_ingest_malformed_requests_are_acknowledged(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception and no 5xx: 204, stored in quarantine or in rejected_events."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    app = create_ingest()
    for seed in SEEDS:
        send_requests(app, seed, 200)
