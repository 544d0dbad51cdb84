"""A watcher, minute by minute: what it tells, what it keeps, how often it reads."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tests.monitoring.alerts import faults
from tests.monitoring.alerts.conftest import GROUPS
from tests.monitoring.alerts.notices import NOW, POLICY, RULE

from marquee.db.pool import Database
from marquee.errors import SettingsError
from marquee.monitoring.alerts.evaluate import AlertValue, Reading
from marquee.monitoring.alerts.grouping import Notice
from marquee.monitoring.alerts.state_machine import AlertState
from marquee.monitoring.alerts.watcher import Watcher


class Told:
    """Takes notices, and says that they arrived."""

    def __init__(self, arrives: bool = True) -> None:
        self.notices: list[Notice] = []
        self.arrives = arrives

    def __call__(self, notice: Notice, done: object) -> None:
        self.notices.append(notice)
        assert callable(done)
        done(self.arrives)


@pytest.mark.servers
def test_a_fault_from_its_first_minute_to_its_end(plain: Database, tmp_path: Path) -> None:
    """Watched minute by minute: pending, told once, killed and begun anew without a word, resolved, told once."""
    faults.clear(plain)
    with plain.transaction() as cursor:
        for minute in range(30):
            faults.delivered(cursor, NOW + timedelta(minutes=minute), 1_000)
            faults.ran(cursor, NOW + timedelta(minutes=minute), "quality")
            bad = 5 <= minute < 15
            faults.asked(cursor, NOW + timedelta(minutes=minute), 100, 50 if bad else 100, minutes=1)
    told, file, states = Told(), tmp_path / "alerts.json", []
    for minute in range(1, 30):
        # A watcher that ends after every look: all it knows is in its file.
        watcher = Watcher(plain, GROUPS, POLICY, tell=told, file=file)
        found = watcher.evaluate(NOW + timedelta(minutes=minute))
        states += [alert.state for alert in found if alert.title == "Error rate"]
        assert {alert.title for alert in found if alert.state != "normal"} <= {"Error rate"}
    changes = [state for state, before in zip(states, [None, *states], strict=False) if state != before]
    assert changes == ["normal", "pending", "firing", "normal"]
    assert [(bool(n.firing), bool(n.resolved)) for n in told.notices] == [(True, False), (False, True)]


@pytest.mark.servers
def test_what_did_not_arrive_is_told_again(plain: Database) -> None:
    faults.clear(plain)
    told = Told(arrives=False)
    watcher = Watcher(plain, GROUPS, POLICY, tell=told)
    for minute in (0, 3, 4):
        watcher.evaluate(NOW + timedelta(minutes=minute))
    assert [notice.title for notice in told.notices] == ["Stream silent", "Stream silent"]
    told.arrives = True
    for minute in (5, 6, 7):
        watcher.evaluate(NOW + timedelta(minutes=minute))
    assert [notice.title for notice in told.notices].count("Stream silent") == 3


@pytest.mark.servers
def test_rules_are_read_when_their_interval_has_passed(plain: Database) -> None:
    """Not more often: those of five minutes at the sixth look a minute apart."""
    faults.clear(plain)
    watcher = Watcher(plain, GROUPS, POLICY)
    values = []
    for minute in range(7):
        with plain.transaction() as cursor:
            cursor.execute("TRUNCATE quality_checks")
            faults.model_stale(cursor, NOW + timedelta(minutes=minute), 100 + minute)
        found = watcher.evaluate(NOW + timedelta(minutes=minute))
        values += [alert.value for alert in found if alert.title == "Model stale"]
    assert values == [100, 100, 100, 100, 100, 105, 105]


def test_a_states_file_that_is_spoilt_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "alerts.json").write_text("{")
    with pytest.raises(SettingsError, match="Remove it"):
        Watcher(Database("postgresql://x@127.0.0.1:1/x"), GROUPS, POLICY, file=tmp_path / "alerts.json")


def test_readings_and_memories_are_plain_data() -> None:
    """A memory is the same after a round trip through the file."""
    from marquee.monitoring.alerts.state_machine import advance

    memory = advance(RULE, AlertState(), Reading((AlertValue({"check": "a"}, 0.5, True),)), NOW)
    assert msgspec.json.decode(msgspec.json.encode(memory), type=AlertState) == memory
