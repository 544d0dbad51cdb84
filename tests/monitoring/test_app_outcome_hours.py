"""Outcomes of the app by hour: panels show what the outcomes themselves say, after any change of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.grafana.macros import TimeRange, expand_macros
from marquee.grafana.panel_files import read_boards
from marquee.ingest.retention_terms import delete_expired_rows
from marquee.monitoring import app_outcome_hours
from marquee.monitoring.app_outcome_hours import update_outcome_hours
from marquee.privacy import forget_journal, personal_tables

pytestmark = pytest.mark.servers
END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOURS = 6
RANGE = TimeRange(END - timedelta(hours=HOURS), END - timedelta(microseconds=1))
BOARD = read_boards(Path(__file__).parents[2] / "dashboards")["marquee-app-usage"]

# The same from the outcomes.
DIRECT = {
    "Opened of seen": """
SELECT count(*) FILTER (WHERE opened)::float8 / nullif(count(*), 0)
FROM app_outcomes WHERE seen AND $__timeFilter(at)""",
    "Recommendations by arm": """
SELECT arm, model_version, seen, p,
       (p + 1.92 / seen - 1.96 * sqrt((p * (1 - p) + 0.96 / seen) / seen)) / (1 + 3.84 / seen),
       (p + 1.92 / seen + 1.96 * sqrt((p * (1 - p) + 0.96 / seen) / seen)) / (1 + 3.84 / seen), played, snips
FROM (SELECT arm, model_version, count(*)::float8 AS seen, count(*) FILTER (WHERE opened)::float8 / count(*) AS p,
             count(*) FILTER (WHERE played)::float8 / count(*) AS played,
             sum(opened::int / propensity) / sum(1 / propensity) AS snips
      FROM app_outcomes WHERE seen AND propensity > 0 AND $__timeFilter(at)
      GROUP BY arm, model_version HAVING count(DISTINCT user_id) >= 5) AS arms ORDER BY 1, 2""",
    "Opened by position": """
SELECT lpad(list_position::text, 2, ' '), count(*) FILTER (WHERE opened)::float8 / count(*)
FROM app_outcomes WHERE seen AND list_position > 0 AND $__timeFilter(at)
GROUP BY list_position HAVING count(DISTINCT user_id) >= 5 ORDER BY list_position LIMIT 20""",
}
WRITE = """
INSERT INTO app_outcomes (recommendation_id, movie_id, user_id, position, seen, opened, played, finished, at, arm,
                          model_version, list_position, propensity)
VALUES (%s, 'a', %s, 1, %s, %s, %s, false, %s, %s, 'v1', %s, %s)"""


def read_panels(database: Database, queries: dict[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    return {title: rows(database, expand_macros(sql, RANGE, timescale=False)) for title, sql in queries.items()}


def check_panels(database: Database) -> None:
    """Assert that the panels of the dashboard equal the direct queries, and that they show something."""
    update_outcome_hours(database)
    panels = {panel.title: panel.sql for panel in BOARD.panels if panel.title in DIRECT}
    shown, direct = read_panels(database, panels), read_panels(database, DIRECT)
    assert shown.keys() == direct.keys()
    for title, expected in direct.items():
        assert len(shown[title]) == len(expected) > 0
        for row, other in zip(shown[title], expected, strict=True):
            assert row == pytest.approx(other)


def write_outcomes(database: Database, n: int = 300) -> None:
    """Write random outcomes: few users in each hour, positions and arms of fewer than five in all, lists unknown."""
    rng = np.random.default_rng(0)
    with database.transaction() as cursor:
        for number in range(n):
            arm = str(rng.choice(["control", "canary", "rare"], p=[0.7, 0.28, 0.02]))
            user = f"u{rng.integers(12)}" if arm != "rare" else "u1"
            propensity = [None, 0.0, 0.25, 1.0][rng.integers(4)]
            known = rng.random() < 0.9
            values = (user, *(bool(flag) for flag in rng.random(3) < (0.9, 0.4, 0.2)))
            at = END - timedelta(hours=float(rng.uniform(-1, HOURS + 1)))
            joined = (arm, int(rng.geometric(0.3)), propensity) if known else (None, None, None)
            cursor.execute(WRITE, (f"r{number}", *values, at, *joined))


def test_panels_of_random_outcomes_equal_direct_queries(each_database: Database) -> None:
    """New outcomes, earlier times, joined lists, deleted users: after each, the panels show the same."""
    write_outcomes(each_database)
    check_panels(each_database)
    for change in (
        "UPDATE app_outcomes SET at = at - INTERVAL '2 hours', opened = true WHERE user_id = 'u2'",
        "UPDATE app_outcomes SET arm = 'control', model_version = 'v1', list_position = 3, propensity = 0.5 "
        "WHERE arm IS NULL",
        "DELETE FROM app_outcomes WHERE user_id IN ('u3', 'u5')",
    ):
        with each_database.transaction() as cursor:
            cursor.execute(change)
        check_panels(each_database)
    assert update_outcome_hours(each_database) == 0


def test_update_outcome_hours_killed_run_is_repeated(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends within an hour leaves the others and that one to the next run."""
    write_outcomes(postgres_database)
    with monkeypatch.context() as patch:
        patch.setattr(app_outcome_hours, "_COUNT", "SELECT 1 / 0")
        with pytest.raises(Exception, match="division by zero"):
            update_outcome_hours(postgres_database)
    assert rows(postgres_database, "SELECT count(*) FROM app_outcome_hours") == [(0,)]
    assert update_outcome_hours(postgres_database, budget_s=0) > 0
    check_panels(postgres_database)


def test_outcome_users_are_at_most_five_of_a_row_and_are_forgotten(each_database: Database) -> None:
    """No row names more than five users; one who is forgotten is in none, before the next count and after it."""
    write_outcomes(each_database)
    update_outcome_hours(each_database)
    query = "SELECT max(n) FROM (SELECT count(*) AS n FROM app_outcome_users GROUP BY time, arm, position) AS counts"
    assert rows(each_database, query) == [(5,)]
    forget_journal.open_requests(each_database, "k" * 32, ["u1"])
    personal_tables.delete_rows(each_database, ["u1"])
    for _ in range(2):
        assert rows(each_database, "SELECT count(*) FROM app_outcome_users WHERE user_id = 'u1'") == [(0,)]
        check_panels(each_database)


def test_outcome_hours_of_expired_outcomes_stay_until_their_own_term(postgres_database: Database) -> None:
    """Retention deletes rows of 90 days and counts no hour again."""
    write_outcomes(postgres_database)
    with postgres_database.transaction() as cursor:
        cursor.execute(WRITE, ("old", "u1", True, True, True, END - timedelta(days=91), "control", 1, 1.0))
    update_outcome_hours(postgres_database)
    hours = "SELECT * FROM app_outcome_hours WHERE time > now() - INTERVAL '{}' ORDER BY time, arm, position"
    before = rows(postgres_database, hours.format("2 days"))
    delete_expired_rows(postgres_database)
    assert rows(postgres_database, "SELECT count(*) FROM app_outcome_changes") == [(0,)]
    assert rows(postgres_database, hours.format("1 year")) == before
