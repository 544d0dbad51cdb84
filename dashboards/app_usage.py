"""Dashboard of the app: users, sessions, loss, funnel, retention, screens, and clicks by arm and position."""

from __future__ import annotations

from dashboards.panels import Kind, Panel, Tile, above, below, info

TITLE = "How is the app used?"
QUESTION = "Do users come back, how far do they get, and which recommendations do they open?"

_NO_DAYS = "The app has reported nothing in this time range"
_FEW = "No group of five users or more in this time range"

USERS = Tile(
    1,
    "Users a day",
    "Mean number of users who consented to analytics, by day. Days with fewer than five have no number.",
    "constant or rising.",
    Kind.STAT,
    "SELECT avg(users) AS users FROM app_days WHERE DAYS_IN_RANGE",
    "short",
    info(),
    decimals=1,
    no_rows=_NO_DAYS,
)
LOST = Tile(
    2,
    "Lost events",
    "Fraction of analytics events whose number is missing in their session.",
    "zero: an event stays on the device until the server has it.",
    Kind.STAT,
    """
SELECT sum(lost)::float8 / nullif(sum(lost) + sum(events), 0) AS lost FROM app_days WHERE DAYS_IN_RANGE""",
    "percentunit",
    below(0.001, 0.01),
    decimals=2,
    no_rows=_NO_DAYS,
)
ERROR_FREE = Tile(
    3,
    "Sessions without an error",
    "Fraction of sessions without a script error or a crash.",
    "above 99 %.",
    Kind.STAT,
    """
SELECT 1 - sum(failed_sessions)::float8 / nullif(sum(sessions), 0) AS free FROM app_days WHERE DAYS_IN_RANGE""",
    "percentunit",
    above(0.95, 0.99),
    decimals=1,
    no_rows=_FEW,
)
OPENED = Tile(
    4,
    "Opened of seen",
    "Fraction of recommended movies whose screen was opened, of those whose poster was visible for a second.",
    "constant or rising from release to release.",
    Kind.STAT,
    """
SELECT sum(opened)::float8 / nullif(sum(seen), 0) AS opened FROM app_outcome_hours WHERE HOURS_IN_RANGE""",
    "percentunit",
    info(),
    decimals=1,
    no_rows=_NO_DAYS,
)
DAYS = Panel(
    5,
    "Users and sessions",
    "Users and sessions by day.",
    "follows the week, without a sudden drop.",
    Kind.SERIES,
    """
SELECT time AS "time", users, sessions FROM app_days WHERE DAYS_IN_RANGE AND users IS NOT NULL ORDER BY time""",
    "short",
    info(),
    min_value=0,
    no_rows=_FEW,
)
FUNNEL = Panel(
    6,
    "Funnel",
    "Users by day who came at least as far as each step, added up: seen, opened, played, played to the end.",
    "each step keeps a constant fraction of the one before it.",
    Kind.BARS,
    """
SELECT step || ' ' || replace(name, '_', ' ') AS step, sum(users) AS users
FROM app_funnel AS funnel WHERE DAYS_IN_RANGE GROUP BY funnel.step, name ORDER BY funnel.step""",
    "short",
    info(),
    no_rows=_FEW,
)
ARMS = Panel(
    7,
    "Recommendations by arm",
    "Recommended movies that were seen, the fraction opened with its 95 % interval (Wilson), the fraction played, and "
    "the estimate of the fraction opened that weighs each movie by the inverse of its propensity (SNIPS).",
    "the interval of a new arm is not below that of control.",
    Kind.TABLE,
    """
SELECT arm, model_version AS version, seen, p AS opened,
       (p + 1.92 / seen - 1.96 * sqrt((p * (1 - p) + 0.96 / seen) / seen)) / (1 + 3.84 / seen) AS low,
       (p + 1.92 / seen + 1.96 * sqrt((p * (1 - p) + 0.96 / seen) / seen)) / (1 + 3.84 / seen) AS high,
       played, snips
FROM (SELECT arm, model_version, sum(seen)::float8 AS seen, sum(opened)::float8 / sum(seen) AS p,
             sum(played)::float8 / sum(seen) AS played, sum(weight_opened) / sum(weight) AS snips
      FROM app_outcome_hours WHERE arm <> '' AND HOURS_IN_RANGE GROUP BY arm, model_version) AS arms
JOIN (SELECT arm, model_version FROM app_outcome_users WHERE HOURS_IN_RANGE
      GROUP BY arm, model_version HAVING count(DISTINCT user_id) >= 5) AS large USING (arm, model_version)
ORDER BY arm, version""",
    "percentunit",
    info(),
    width=24,
    height=6,
    decimals=1,
    units={"seen": "short"},
    no_rows=_FEW,
)
POSITIONS = Panel(
    8,
    "Opened by position",
    "Fraction of the movies seen at each position that were opened.",
    "falls from the first position on: the order is useful.",
    Kind.BARS,
    """
SELECT lpad(position::text, 2, ' ') AS position, sum(opened)::float8 / sum(seen) AS opened
FROM app_outcome_hours AS hours
JOIN (SELECT position FROM app_outcome_users WHERE position > 0 AND HOURS_IN_RANGE
      GROUP BY position HAVING count(DISTINCT user_id) >= 5) AS large USING (position)
WHERE HOURS_IN_RANGE GROUP BY hours.position ORDER BY hours.position LIMIT 20""",
    "percentunit",
    info(),
    decimals=1,
    no_rows=_FEW,
)
SCREENS = Panel(
    9,
    "Screens",
    "Views of each screen, and how long it was looked at: the median and the 95th percentile of a day, averaged over "
    "days.",
    "no screen takes longer than before.",
    Kind.TABLE,
    """
SELECT screen, sum(views) AS views, avg(p50_s) AS median, avg(p95_s) AS p95
FROM app_screens WHERE DAYS_IN_RANGE GROUP BY screen ORDER BY views DESC""",
    "s",
    info(),
    decimals=1,
    units={"views": "short"},
    no_rows=_FEW,
)
RETENTION = Panel(
    10,
    "Weekly retention",
    "Fraction of the users first seen in a week who were there that many weeks later.",
    "the rows flatten out above zero, and newer ones are not below older ones.",
    Kind.TABLE,
    """
SELECT r.time AS week, first.users, r.weeks AS "weeks later",
       r.users::float8 / nullif(first.users, 0) AS back
FROM app_retention AS r JOIN app_retention AS first ON first.time = r.time AND first.weeks = 0
WHERE r.weeks > 0 AND r.time <= $__timeTo()::timestamptz ORDER BY r.time DESC, r.weeks LIMIT 100""",
    "short",
    info(),
    width=24,
    decimals=1,
    units={"back": "percentunit"},
    no_rows=_FEW,
)

ROWS = (
    (USERS, LOST, ERROR_FREE, OPENED),
    (DAYS, FUNNEL),
    (ARMS,),
    (POSITIONS, SCREENS),
    (RETENTION,),
)
