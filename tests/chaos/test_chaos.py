"""A short rage of the monkey; ``make chaos KILLS=200`` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.chaos.lines import line
from tests.chaos.monkey import Monkey
from tests.chaos.system import ChaosSystem

from marquee.config.settings import Settings
from marquee.events.kinds import MalformedRecord
from marquee.events.parser import EventParser

KILLS, SEED = 7, 1


@pytest.mark.servers
@pytest.mark.long
def test_every_line_once_whatever_is_killed(tmp_path: Path) -> None:
    """Kills and pauses of every part, odd deliveries, a database that is away, full or slow, while two bridges
    share the partitions: each line that Kafka holds is in its table once, and nothing else is."""
    with ChaosSystem(tmp_path, SEED) as system:
        monkey = Monkey(system, SEED, away_s=1.5)
        monkey.rage(KILLS)
        found = system.settle()
        assert found.exact, f"{found} after {monkey.tally}, mended {system.mended} times. {system.log_ends()}"
        assert found.acknowledged >= system.ledger.written > 0
        assert monkey.tally.total >= KILLS


def test_lines_are_what_they_are_said_to_be() -> None:
    """The fate that the account expects of a line is the parser's verdict on it."""
    parser = EventParser(Settings().time_zone, 5)
    for number in range(2_000):
        known = line(number, SEED)
        try:
            event = parser.parse(known.raw.decode())
        except UnicodeDecodeError:
            assert known.table == "quarantine"
            continue
        assert isinstance(event, MalformedRecord) == (known.table == "quarantine")
