"""The reply to requests that :class:`LoadShedder` refuses."""

from __future__ import annotations

from marquee.config.request_wait import LoadShedder as LoadShedder
from marquee.config.request_wait import measure_wait_ms as measure_wait_ms
from marquee.serving.http_api import Reply

OVERLOADED = Reply(
    503,
    b"More requests arrive than can be answered in time. Try again later.\n",
    headers={"Retry-After": "1", "Cache-Control": "no-store"},
)
