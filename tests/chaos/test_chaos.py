"""A short run of the fault injector; ``make chaos KILLS=200`` is a long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.chaos.fault_injector import FaultInjector
from tests.chaos.known_records import known_record
from tests.chaos.system import ChaosSystem

from marquee.config.settings import Settings
from marquee.events.kinds import KIND_OF_EVENT, LOG_KINDS, QUARANTINE, MalformedRecord
from marquee.events.parser import EventParser

KILLS, SEED = 7, 1


@pytest.mark.servers
@pytest.mark.long
def test_system_under_faults_stores_each_record_once(tmp_path: Path) -> None:
    """Each record that Kafka holds is in its table once, and nothing else is.

    The faults are kills and pauses of every part, faulty deliveries, and a database that is down, full or slow,
    while two bridges share the partitions.
    """
    with ChaosSystem(tmp_path, SEED) as system:
        injector = FaultInjector(system, SEED, outage_s=1.5)
        injector.inject(KILLS)
        result = system.settle()
        assert result.exact, f"{result} after {injector.counts}, {system.group_repairs} repairs. {system.log_ends()}"
        assert result.acknowledged >= system.produced.written > 0
        assert injector.counts.total >= KILLS


def test_known_record_table_agrees_with_parser() -> None:
    """The verification expects each record where the parser puts it, and every table is used."""
    parser, tables = EventParser(Settings().time_zone), set()
    for number in range(2_000):
        record = known_record(number, SEED)
        tables.add(record.table)
        try:
            event = parser.parse(record.raw.decode())
        except UnicodeDecodeError:
            assert record.table == QUARANTINE
            continue
        if isinstance(event, MalformedRecord):
            assert record.table == QUARANTINE
        else:
            assert record.table == KIND_OF_EVENT[type(event)].table
    assert tables == {QUARANTINE, *(kind.table for kind in LOG_KINDS)}
