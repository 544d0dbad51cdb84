"""Records that the streaming service really wrote, and parsers for them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from marquee.events.kinds import AccountCreated, Rating, RecommendationRequest, Watch
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser

UTC_ZONE = ZoneInfo("UTC")
FIVE = EventParser(UTC_ZONE)
TEN = EventParser(UTC_ZONE, LogScale(1, 10))

TIMEOUT = "java.util.concurrent.TimeoutException: Request timeout to team12.example.edu/192.0.2.130:8082 after 800 ms"
# Records that the streaming service really wrote (host and address changed), and their events.
REAL = {
    "2022-11-14T12:24,232596,GET /data/m/fight+club+1999/128.mpg": Watch(
        datetime(2022, 11, 14, 12, 24, tzinfo=UTC), "232596", "fight+club+1999", 128
    ),
    "2019-09-05T19:27:01,118106,GET /rate/grumpier+old+men+1995=3": Rating(
        datetime(2019, 9, 5, 19, 27, 1, tzinfo=UTC), "118106", "grumpier+old+men+1995", 3
    ),
    "2026-02-14T00:09:21,130276,GET /rate/please+dont+eat+the+daisies+1960=7": Rating(
        datetime(2026, 2, 14, 0, 9, 21, tzinfo=UTC), "130276", "please+dont+eat+the+daisies+1960", 7
    ),
    "2026-02-14T00:09:20.426,219411,GET /data/m/escape+to+athena+1979/73.mpg": Watch(
        datetime(2026, 2, 14, 0, 9, 20, 426000, tzinfo=UTC), "219411", "escape+to+athena+1979", 73
    ),
    "2023-04-23T23:46:18.872015,698809,recommendation request team12.example.edu:8082, status 0, "
    f"result: {TIMEOUT}, 832 ms": RecommendationRequest(
        datetime(2023, 4, 23, 23, 46, 18, 872015, tzinfo=UTC),
        "698809",
        "team12.example.edu:8082",
        0,
        (),
        TIMEOUT,
        832,
    ),
    "2022-11-14T12:24,232596,recommendation request team12.example.edu:8082, status 200, "
    "result: fight+club+1999, m*a*s*h+1970, 61*+2001, 59 ms": RecommendationRequest(
        datetime(2022, 11, 14, 12, 24, tzinfo=UTC),
        "232596",
        "team12.example.edu:8082",
        200,
        ("fight+club+1999", "m*a*s*h+1970", "61*+2001"),
        "",
        59,
    ),
    "2026-02-14T00:09:20.426,219411,GET /create_account": AccountCreated(
        datetime(2026, 2, 14, 0, 9, 20, 426000, tzinfo=UTC), "219411"
    ),
}
