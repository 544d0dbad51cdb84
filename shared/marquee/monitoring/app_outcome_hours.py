"""Outcomes of the app by hour, in table ``app_outcome_hours``: what panels add up instead of the outcomes themselves.

Panels leave out groups of fewer than five users, whom they count in ``app_outcome_users``: up to five of each row.

Triggers note the hours of outcomes that were written, changed or deleted. Each of them is counted again as a whole, in
the transaction that removes its note. So a killed run repeats at most an hour, and a late or deleted outcome is
counted like any other.
"""

from __future__ import annotations

import time
from datetime import datetime

from marquee.db.pool import Database

DEADLINE_MS, BUDGET_S = 60_000, 60.0

_CHANGED = "SELECT DISTINCT time FROM app_outcome_changes ORDER BY time DESC"
_TAKE = "DELETE FROM app_outcome_changes WHERE time = %(hour)s"
_DELETE_HOUR = "DELETE FROM app_outcome_hours WHERE time = %(hour)s"
_DELETE_USERS = "DELETE FROM app_outcome_users WHERE time = %(hour)s"
_COUNT = """
WITH outcomes AS MATERIALIZED (
    SELECT CASE WHEN propensity > 0 THEN coalesce(arm, '') ELSE '' END AS arm,
           CASE WHEN propensity > 0 THEN coalesce(model_version, '') ELSE '' END AS model_version,
           coalesce(list_position, 0) AS position, user_id, opened, played,
           CASE WHEN propensity > 0 THEN 1 / propensity ELSE 0 END AS weight
    FROM app_outcomes WHERE seen AND at >= %(hour)s AND at < %(hour)s + INTERVAL '1 hour'
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY arm, model_version, position ORDER BY user_id) AS number
    FROM (SELECT DISTINCT arm, model_version, position, user_id FROM outcomes) AS users
), users AS (
    INSERT INTO app_outcome_users (time, arm, model_version, position, user_id)
    SELECT %(hour)s, arm, model_version, position, user_id FROM numbered WHERE number <= 5
)
INSERT INTO app_outcome_hours (time, arm, model_version, position, seen, opened, played, weight, weight_opened)
SELECT %(hour)s, arm, model_version, position, count(*), count(*) FILTER (WHERE opened),
       count(*) FILTER (WHERE played), sum(weight), coalesce(sum(weight) FILTER (WHERE opened), 0)
FROM outcomes GROUP BY 2, 3, 4"""


def update_outcome_hours(database: Database, *, budget_s: float = BUDGET_S) -> int:
    """Count the hours that have changed, the newest first; return the number of rows written.

    After ``budget_s`` seconds the rest is left to the next call.
    """
    ends = time.monotonic() + budget_s
    written = 0
    for (hour,) in database.read(_CHANGED, deadline_ms=DEADLINE_MS):
        written += _count_hour(database, hour)
        if time.monotonic() > ends:
            break
    return written


def _count_hour(database: Database, hour: datetime) -> int:
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        # A change that is noted from now on stays for the next run. What is taken is committed, so the count sees it.
        for statement in (_TAKE, _DELETE_HOUR, _DELETE_USERS, _COUNT):
            cursor.execute(statement, {"hour": hour})
        return int(cursor.rowcount)
