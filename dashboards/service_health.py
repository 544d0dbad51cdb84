"""Dashboard of service health: responses and their latency."""

from __future__ import annotations

from dashboards.panels import GREEN, RED, YELLOW, Kind, Panel, Tile, above, below, info, series_sql

TITLE = "Service health"
QUESTION = "Do users get their recommendations in time?"
_NO_REQUESTS = "No requests in this time range"

ANSWERED = Tile(
    1,
    "Answered in time",
    "Fraction of requests answered with status 200 within the time-out of the streaming service, from its event log.",
    "99.5 % or more.",
    Kind.GAUGE,
    """
SELECT sum(answered)::float8 / nullif(sum(requests), 0) AS "answered in time"
FROM availability WHERE $__timeFilter(time)""",
    "percentunit",
    above(0.99, 0.995),
    width=8,
    decimals=2,
    min_value=0.9,
    max_value=1,
    runbook="error-rate",
    no_rows=_NO_REQUESTS,
)
P99 = Tile(
    2,
    "Typical p99 latency",
    "Median over all minutes of the latency of the 99th percentile.",
    "far below the time-out of 600 ms.",
    Kind.STAT,
    """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY p99_ms) AS p99
FROM availability WHERE $__timeFilter(time)""",
    "ms",
    below(300, 600),
    width=8,
    decimals=0,
    runbook="slow-answers",
    no_rows=_NO_REQUESTS,
)
REQUESTS = Tile(
    3,
    "Requests per second",
    "Rate of requests in the newest ten minutes with requests.",
    "follows the activity of the users and does not drop to zero.",
    Kind.STAT,
    """
SELECT sum(requests) / (60.0 * nullif(count(DISTINCT time), 0)) AS requests FROM availability
WHERE time > (SELECT max(time) FROM availability WHERE $__timeFilter(time)) - INTERVAL '10 minutes'
  AND $__timeFilter(time)""",
    "reqps",
    info(),
    width=8,
    decimals=2,
    no_rows=_NO_REQUESTS,
)
LATENCY = Panel(
    5,
    "Latency",
    "Percentiles of the time until a response, per minute, as seen by the streaming service.",
    "p99 below 300 ms; the time-out is 600 ms.",
    Kind.SERIES,
    series_sql("max(p50_ms) AS p50, max(p95_ms) AS p95, max(p99_ms) AS p99", "availability WHERE"),
    "ms",
    below(300, 600),
    show_thresholds=True,
    min_value=0,
    runbook="slow-answers",
    no_rows=_NO_REQUESTS,
)
OUTCOMES = Panel(
    6,
    "Requests by outcome",
    "Requests answered in time, answered late or timed out, and failed with another status.",
    "only answered requests; late and failed are at zero.",
    Kind.SERIES,
    series_sql(
        """sum(answered) * 1000.0 / $__interval_ms AS answered,
       sum(late) * 1000.0 / $__interval_ms AS late, sum(failed) * 1000.0 / $__interval_ms AS failed""",
        "availability WHERE",
    ),
    "reqps",
    info(),
    stacked=True,
    min_value=0,
    series_colors={"answered": GREEN, "late": YELLOW, "failed": RED},
    runbook="error-rate",
    no_rows=_NO_REQUESTS,
)
TIERS = Panel(
    7,
    "Recommendations by tier",
    "How recommendations were computed: personalised, folded in, by cohort, popular movies or last resort.",
    "mostly personalised and folded in; last resort only for moments.",
    Kind.SERIES,
    series_sql(
        "sum(impressions) * 1000.0 / $__interval_ms AS recommendations",
        "impressions_per_minute WHERE",
        by="tier",
    ),
    "reqps",
    info(),
    stacked=True,
    min_value=0,
)
AGE_RULE = Panel(
    10,
    "Lists with a movie above the age",
    "Lists of which a movie above the age of the account was removed at the last moment, because a rule had failed.",
    "zero.",
    Kind.SERIES,
    series_sql(
        "count(*) AS lists",
        "impressions WHERE 'age-rule-broken' = ANY (notes) AND",
        by="model_version",
    ),
    "short",
    below(1, 1),
    min_value=0,
    runbook="age-rule",
    no_rows="No such list in this time range",
)
FAILURES = Panel(
    8,
    "Newest failed requests",
    "Responses with another status than 200. Status 0 means no response.",
    "no rows.",
    Kind.TABLE,
    """
SELECT time, status, user_id AS user, server, response_ms AS latency, left(result, 100) AS result
FROM recommendation_requests WHERE status <> 200 AND $__timeFilter(time) ORDER BY time DESC LIMIT 20""",
    "none",
    info(),
    no_rows="No request failed in this time range",
    units={"latency": "ms"},
    runbook="error-rate",
)
SERVERS = Panel(
    9,
    "Requests by server",
    "Requests to each server, the fraction answered in time, and the p99 latency of its worst minute. Servers with "
    "less than 1 % of the requests of the busiest one are together as 'other': most are damaged names in the log.",
    "every server at 99.5 % or more.",
    Kind.TABLE,
    """
WITH servers AS (
    SELECT server, sum(requests) AS requests, sum(answered) AS answered, max(p99_ms) AS p99_ms
    FROM availability WHERE $__timeFilter(time) GROUP BY server
), named AS (
    SELECT CASE WHEN requests < 0.01 * max(requests) OVER () THEN 'other' ELSE server END AS name,
           requests, answered, p99_ms
    FROM servers
)
SELECT name AS server, sum(requests) AS requests,
       sum(answered)::float8 / nullif(sum(requests), 0) AS "answered in time",
       max(p99_ms) AS "worst p99"
FROM named GROUP BY name ORDER BY requests DESC LIMIT 20""",
    "short",
    info(),
    units={"answered in time": "percentunit", "worst p99": "ms"},
    no_rows=_NO_REQUESTS,
)

ROWS = ((ANSWERED, P99, REQUESTS), (LATENCY, OUTCOMES), (TIERS, AGE_RULE), (FAILURES, SERVERS))
