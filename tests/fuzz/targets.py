"""What is fuzzed: the parser with its short cut, and the function as the framework serves it."""

from __future__ import annotations

import random
from zoneinfo import ZoneInfo

import functions_framework
from flask import Flask
from tests.fuzz import mutation
from tests.servers.function import ROOT

from marquee.events.batches import make_record
from marquee.events.kinds import MalformedRecord, Watch
from marquee.events.parser import EventParser
from marquee.ingest.row_encoding import parse_records

BATCH = 2_000
# One line in so many is read a second time, alone, to compare.
COMPARED = 20
PARSERS = (EventParser(ZoneInfo("UTC"), 5), EventParser(ZoneInfo("America/New_York"), 10))


def read_lines(seed: int, count: int = BATCH) -> int:
    """Read some mutated lines; returns how many are malformed. Fails if a line is lost, doubled or read in two ways."""
    parser = PARSERS[seed % 2]
    raws = mutation.lines(count, seed)
    found = parse_records([make_record(offset, 0, raw) for offset, raw in enumerate(raws)], parser)
    watches = {int(row.split("\t", 1)[0]) for row in found.watches}
    malformed = {line.offset for line, _, _ in found.malformed}
    others = [offset for rows in found.others.values() for offset in rows.offsets]
    offsets = [*watches, *malformed, *others]
    assert sorted(offsets) == list(range(count)), f"seed {seed}"
    assert all(row.count("\t") == 4 for row in found.watches), f"seed {seed}"
    for offset in range(seed % COMPARED, count, COMPARED):
        try:
            event = parser.parse(raws[offset].decode())
        except UnicodeDecodeError:
            assert offset in malformed
            continue
        assert isinstance(event, Watch) == (offset in watches), raws[offset]
        assert isinstance(event, MalformedRecord) == (offset in malformed), raws[offset]
    return len(malformed)


def function() -> Flask:
    """The function ``ingest``; its settings are in the environment."""
    source = str(ROOT / "functions" / "ingest" / "main.py")
    app: Flask = functions_framework.create_app("ingest", source)  # type: ignore[no-untyped-call]
    return app


def send_requests(app: Flask, seed: int, count: int) -> None:
    """Send malformed deliveries; each has to be acknowledged, since sending it again cannot mend it."""
    client, chance = app.test_client(), random.Random(f"requests {seed}")
    for number in range(count):
        headers, body = mutation.request(seed * 1_000_000 + number, chance)
        answer = client.post("/", data=body, headers=headers)
        assert answer.status_code == 204, f"seed {seed}: {answer.status_code} to {headers} {body[:2_000]!r}"
