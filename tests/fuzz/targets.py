"""Fuzz targets: the parser with its fast path, and the function as the framework serves it."""

from __future__ import annotations

import random
from zoneinfo import ZoneInfo

import functions_framework
from flask import Flask
from tests.fuzz import mutation
from tests.servers.function import ROOT

from marquee.events.batches import make_record
from marquee.events.kinds import MalformedRecord, Watch
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.ingest.row_encoding import parse_records

BATCH_SIZE = 2_000
# One record in this many is parsed a second time, alone, and compared.
COMPARED_EVERY = 20
PARSERS = (EventParser(ZoneInfo("UTC")), EventParser(ZoneInfo("America/New_York"), LogScale(1, 10)))


def parse_mutated(seed: int, count: int = BATCH_SIZE) -> int:
    """Parse mutated records, and return how many are malformed.

    Fails if a record is lost or doubled, or if the fast path and the parser disagree.
    """
    parser = PARSERS[seed % 2]
    raws = mutation.mutated_records(count, seed)
    parsed = parse_records([make_record(offset, 0, raw) for offset, raw in enumerate(raws)], parser)
    watches = {int(row.split("\t", 1)[0]) for row in parsed.watches}
    malformed = {record.offset for record, _, _ in parsed.malformed}
    others = [offset for rows in parsed.others.values() for offset in rows.offsets]
    offsets = [*watches, *malformed, *others]
    assert sorted(offsets) == list(range(count)), f"seed {seed}"
    assert all(row.count("\t") == 4 for row in parsed.watches), f"seed {seed}"
    for offset in range(seed % COMPARED_EVERY, count, COMPARED_EVERY):
        try:
            event = parser.parse(raws[offset].decode())
        except UnicodeDecodeError:
            assert offset in malformed
            continue
        assert isinstance(event, Watch) == (offset in watches), raws[offset]
        assert isinstance(event, MalformedRecord) == (offset in malformed), raws[offset]
    return len(malformed)


def create_ingest() -> Flask:
    """Return the function ``ingest``, with settings from the environment."""
    source = str(ROOT / "functions" / "ingest" / "main.py")
    app: Flask = functions_framework.create_app("ingest", source)  # type: ignore[no-untyped-call]
    return app


def send_requests(app: Flask, seed: int, count: int) -> None:
    """Send malformed deliveries; each must be acknowledged, because a retry cannot help."""
    client, rng = app.test_client(), random.Random(f"requests {seed}")
    for number in range(count):
        headers, body = mutation.malformed_request(seed * 1_000_000 + number, rng)
        answer = client.post("/", data=body, headers=headers)
        assert answer.status_code == 204, f"seed {seed}: {answer.status_code} to {headers} {body[:2_000]!r}"
