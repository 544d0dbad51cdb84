"""Rules watched over time: evaluated when they are due, remembered across a restart, told to Slack if there is one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from marquee.db.pool import Database
from marquee.errors import SettingsError
from marquee.grafana.durations import parse_duration
from marquee.monitoring.alerts.alert import Alert, alerts, of_rule
from marquee.monitoring.alerts.evaluate import evaluate_rule
from marquee.monitoring.alerts.grouping import Notice, Sent, due
from marquee.monitoring.alerts.provisioning import Group, Policy, Rule
from marquee.monitoring.alerts.state_machine import AlertState, advance, lasting

Tell = Callable[[Notice, Callable[[bool], None]], None]
"""Sends a notice in the background, and says at the end whether it arrived."""
_REPLAYED = 6


class Kept(msgspec.Struct):
    """What the file of a watcher holds, by the rule's uid."""

    memories: dict[str, AlertState] = {}
    sent: dict[str, Sent] = {}


class Watcher:
    """``tell``: how notices leave, if at all, as often as ``policy`` says. ``file``: where states survive a restart."""

    def __init__(
        self,
        database: Database,
        groups: Sequence[Group],
        policy: Policy,
        *,
        tell: Tell | None = None,
        file: Path | None = None,
    ) -> None:
        self._database = database
        self._groups = groups
        self._policy = policy
        self._tell = tell
        self._file = file
        self._lock = threading.Lock()
        self._kept = _load(file)
        self._under_way: set[str] = set()

    def evaluate(self, now: datetime) -> list[Alert]:
        """Read the rules whose interval has passed, tell what is to be told; returns all alerts, what fires first."""
        for group in self._groups:
            for rule in group.rules:
                before = self._kept.memories.get(rule.uid, AlertState())
                if _is_due(before, group, now):
                    after = advance(rule, before, evaluate_rule(self._database, rule, now), now)
                    with self._lock:
                        self._kept.memories[rule.uid] = after
        self._notify(now)
        self._save()
        return alerts(self._groups, self._kept.memories)

    def _notify(self, now: datetime) -> None:
        if self._tell is None:
            return
        for rule in (rule for group in self._groups for rule in group.rules):
            with self._lock:
                sent, busy = self._kept.sent.get(rule.uid), rule.uid in self._under_way
            found = list(of_rule(rule, self._kept.memories.get(rule.uid, AlertState())))
            notice = None if busy else due(rule, found, sent, self._policy, now)
            if notice is not None:
                with self._lock:
                    self._under_way.add(rule.uid)
                self._tell(notice, self._arrival(rule, notice, now))

    def _arrival(self, rule: Rule, notice: Notice, now: datetime) -> Callable[[bool], None]:
        """What is done when the notice has arrived, or could not be brought: then the next evaluation tries again."""

        def done(arrived: bool) -> None:
            with self._lock:
                self._under_way.discard(rule.uid)
                if arrived and notice.firing:
                    self._kept.sent[rule.uid] = Sent(now, notice.firing)
                elif arrived:
                    self._kept.sent.pop(rule.uid, None)
            self._save()

        return done

    def _save(self) -> None:
        if self._file is None:
            return
        with self._lock:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new = self._file.with_name(f".{self._file.name}.new")
            new.write_bytes(msgspec.json.encode(self._kept))
            new.replace(self._file)


def current(database: Database, groups: Sequence[Group], now: datetime) -> list[Alert]:
    """The alerts as they would stand had somebody watched: each rule is read as of some moments within its ``for``.

    ``since`` reaches back no further than that.
    """
    memories = {rule.uid: _replayed(database, rule, now) for group in groups for rule in group.rules}
    return alerts(groups, memories)


def _replayed(database: Database, rule: Rule, now: datetime) -> AlertState:
    """First as of now: where nothing is wrong, nothing more need be read."""
    last = evaluate_rule(database, rule, now)
    memory, span = advance(rule, AlertState(), last, now), lasting(rule)
    if not memory.instances or not span:
        return memory
    memory = AlertState()
    for step in range(_REPLAYED):
        at = now - span * (1 - step / _REPLAYED)
        memory = advance(rule, memory, evaluate_rule(database, rule, at), at)
    return advance(rule, memory, last, now)


def _is_due(memory: AlertState, group: Group, now: datetime) -> bool:
    # A timer that fires a moment early must not make a rule wait for another round.
    slack = timedelta(seconds=1)
    return memory.evaluated is None or now - memory.evaluated >= parse_duration(group.interval) - slack


def _load(file: Path | None) -> Kept:
    if file is None or not file.exists():
        return Kept()
    try:
        return msgspec.json.decode(file.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(
            f"{file} does not hold alerts' states: {error}. Remove it to begin anew"
        ) from error
