"""Service health: requests answered in time."""

from __future__ import annotations

from dashboards.panels import GREEN, RED, YELLOW, Kind, Panel, above, below, info

TITLE = "Service health"
QUESTION = "Do users get their recommendations in time?"

ANSWERED = Panel(
    1,
    "Answered in time",
    "The share of all requests that got status 200 before the caller gave up, as the streaming service logged it.",
    "99.5 % and more.",
    Kind.GAUGE,
    """
SELECT sum(answered)::float8 / nullif(sum(requests), 0) AS "answered in time"
FROM availability WHERE $__timeFilter(time)""",
    "percentunit",
    above(0.99, 0.995),
    width=8,
    height=6,
    decimals=2,
    least=0.9,
    most=1,
    runbook="error-rate",
    nothing="No minute of requests was counted yet",
)
P99 = Panel(
    2,
    "p99 of a typical minute",
    "The milliseconds within which 99 of 100 answers came, in the middle minute of all.",
    "far below the 600 ms after which the caller gives up.",
    Kind.STAT,
    """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY p99_ms) AS p99
FROM availability WHERE $__timeFilter(time)""",
    "ms",
    below(300, 600),
    width=8,
    height=6,
    decimals=0,
    runbook="slow-answers",
    nothing="No minute of requests was counted yet",
)
REQUESTS = Panel(
    3,
    "Requests",
    "How many requests a second came in the newest ten minutes of this time that had any.",
    "whatever the customers ask for; a fall to nothing is not.",
    Kind.STAT,
    """
SELECT sum(requests) / (60.0 * nullif(count(DISTINCT time), 0)) AS requests FROM availability
WHERE time > (SELECT max(time) FROM availability WHERE $__timeFilter(time)) - INTERVAL '10 minutes'
  AND $__timeFilter(time)""",
    "reqps",
    info(),
    width=8,
    height=6,
    decimals=2,
    nothing="No minute of requests was counted yet",
)
LATENCY = Panel(
    5,
    "Response times",
    "What the streaming service waited for an answer, by the minute.",
    "p99 below 300 ms; the caller gives up at 600.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), max(p50_ms) AS p50, max(p95_ms) AS p95, max(p99_ms) AS p99
FROM availability WHERE WHOLE_POINTS GROUP BY 1 ORDER BY 1""",
    "ms",
    below(300, 600),
    line=True,
    least=0,
    runbook="slow-answers",
    nothing="No minute of requests was counted yet",
)
OUTCOMES = Panel(
    6,
    "Requests by outcome",
    "Answered in time, answered or given up too late, and failed with another status.",
    "answered alone; late and failed lie at zero.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), sum(answered) * 1000.0 / $__interval_ms AS answered,
       sum(late) * 1000.0 / $__interval_ms AS late, sum(failed) * 1000.0 / $__interval_ms AS failed
FROM availability WHERE WHOLE_POINTS GROUP BY 1 ORDER BY 1""",
    "reqps",
    info(),
    stacked=True,
    least=0,
    series={"answered": GREEN, "late": YELLOW, "failed": RED},
    runbook="error-rate",
    nothing="No minute of requests was counted yet",
)
TIERS = Panel(
    7,
    "Answers by tier",
    "How the answers were reached: from the user's own vector, folded in, by cohort, popular movies, last resort.",
    "mostly personalised and folded in; last resort never for long.",
    Kind.SERIES,
    """
SELECT $__timeGroupAlias(time,$__interval), tier AS metric, sum(impressions) * 1000.0 / $__interval_ms AS answers
FROM impressions_per_minute WHERE WHOLE_POINTS GROUP BY 1, tier ORDER BY 1""",
    "reqps",
    info(),
    width=24,
    stacked=True,
    least=0,
)
FAILURES = Panel(
    8,
    "Newest requests that failed",
    "What the service got in place of an answer; status 0 is no answer at all.",
    "nothing here.",
    Kind.TABLE,
    """
SELECT time, status, user_id AS user, server, response_ms AS waited, left(result, 100) AS result
FROM recommendation_requests WHERE status <> 200 AND $__timeFilter(time) ORDER BY time DESC LIMIT 20""",
    "none",
    info(),
    nothing="No request failed in this time",
    units={"waited": "ms"},
    runbook="error-rate",
)
SERVERS = Panel(
    9,
    "By server",
    "Each server that the service asked: its requests, the share answered in time, and its worst minute.",
    "every server at 99.5 % and more.",
    Kind.TABLE,
    """
SELECT server, sum(requests) AS requests, sum(answered)::float8 / nullif(sum(requests), 0) AS "answered in time",
       max(p99_ms) AS "worst p99"
FROM availability WHERE $__timeFilter(time) GROUP BY server ORDER BY requests DESC LIMIT 20""",
    "short",
    info(),
    units={"answered in time": "percentunit", "worst p99": "ms"},
    nothing="No minute of requests was counted yet",
)
ROWS = ((ANSWERED, P99, REQUESTS), (LATENCY, OUTCOMES), (TIERS,), (FAILURES, SERVERS))
