"""Panels of the dashboard of experiments, on rows whose meaning is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dashboards.experiments import ESTIMATES, NOVELTY, SECONDARY

from marquee.db.pool import Database
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_query import run_panel_query
from marquee.monitoring.experiment_days import write_days

pytestmark = pytest.mark.servers
NOW = datetime.now(UTC)
_LOOK = """
INSERT INTO experiment_looks
SELECT %s, 'trial', 'newer', metric, 50, 50, 1, 2, 1, 0.1, 100, 0.8, 1.2, margin, 0, NULL, 30, verdict
FROM (VALUES ('answered', 0.1, 'fine'), ('asks', NULL, 'differs'), ('late', NULL, 'undecided'))
     AS m (metric, margin, verdict)"""
_DECISION = (
    "INSERT INTO experiment_decisions VALUES (%s, 'trial', 2, %s, 'wait', 0.5, '', '', '', 1, 1, '', 1, 1, 0, '')"
)
_USER = (
    "INSERT INTO experiment_users (experiment, user_id, arm, enrolled, first_asked) VALUES ('trial', %s, %s, %s, %s)"
)
_HOUR = """
INSERT INTO experiment_hours (time, experiment, user_id, arm, asks, failed, late, lists, watched, minutes, all_minutes,
                              computed, drafted, begun_old, begun_new)
VALUES (%s, 'trial', %s, %s, 9, 0, 0, 4, %s, 0, 0, now(), %s, 1, 3)"""


@pytest.fixture
def looked(database: Database) -> Database:
    """A look at an experiment whose control is called old."""
    with database.transaction() as cursor:
        cursor.execute(_LOOK, (NOW,))
        cursor.execute(_DECISION, (NOW, NOW))
        for arm in ("old", "newer"):
            cursor.execute(_USER, (arm, arm, NOW - timedelta(days=3), NOW - timedelta(days=3)))
    return database


def _write_hours(database: Database, watched: dict[str, tuple[int, int]], drafted: int) -> None:
    """Write the movies begun of each arm on its users' first and last day."""
    with database.transaction() as cursor:
        for arm, counts in watched.items():
            for days, count in zip((2.9, 0.5), counts, strict=True):
                hour = NOW - timedelta(days=days)
                cursor.execute(_HOUR, (hour, arm, arm, count, drafted))
                write_days(cursor, "trial", hour)


def _read(database: Database, panel: Any) -> list[tuple[Any, ...]]:
    return list(run_panel_query(database, panel.sql, TimeRange.last(timedelta(hours=1))).rows)


def test_secondary_panel_has_what_e_bh_selects_and_no_guardrail(looked: Database) -> None:
    """Each metric is in one of the two tables, with its verdict."""
    assert [(row[1], row[-1]) for row in _read(looked, SECONDARY)] == [("asks", "differs"), ("late", "undecided")]
    assert [(row[1], row[-1]) for row in _read(looked, ESTIMATES)] == [("answered", "fine")]


def test_novelty_panel_compares_the_arms_by_day_whatever_their_names(looked: Database) -> None:
    """The effect by the days since the first request: of two arms, movies begun a list of each."""
    _write_hours(looked, {"old": (2, 2), "newer": (8, 3)}, drafted=0)
    assert _read(looked, NOVELTY) == [(0, 8, 0.5, 2.0, 1.5), (2, 8, 0.5, 0.75, 0.25)]


def test_novelty_panel_of_an_interleaving_compares_the_teams(looked: Database) -> None:
    """All users get the same lists, so the teams of the movies are compared."""
    _write_hours(looked, {"old": (2, 2), "newer": (8, 3)}, drafted=4)
    assert _read(looked, NOVELTY) == [(0, 8, 0.25, 0.75, 0.5), (2, 8, 0.25, 0.75, 0.5)]
