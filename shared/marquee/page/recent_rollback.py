"""The newest rollback of the last hour, for the head of the page: without a firing alert not all need be well."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from marquee.db.pool import Database
from marquee.errors import MarqueeError
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_query import run_panel_query
from marquee.page.playground import Playground

RECENT = timedelta(hours=1)
_DECISION = """
SELECT time, reason FROM experiment_decisions
WHERE action = 'back' AND $__timeFilter(time) ORDER BY time DESC LIMIT 1"""


def find_rollback(database: Database, playground: Playground | None) -> dict[str, Any] | None:
    """Return time and reason of the newest rollback, by the monitor or by a person; None if there was none.

    Those by a person are known with a playground only, which reads the releases. A database or a store that does not
    answer has its own alert.
    """
    found: list[tuple[datetime, str]] = []
    recent = TimeRange.last(RECENT)
    try:
        found += [(time, reason) for time, reason in run_panel_query(database, _DECISION, recent).rows]
    except MarqueeError:
        pass
    try:
        found += playground.list_rollbacks(recent.start) if playground else []
    except MarqueeError:
        pass
    if not found:
        return None
    time, reason = max(found)
    return {"time": time.isoformat(), "reason": reason}
