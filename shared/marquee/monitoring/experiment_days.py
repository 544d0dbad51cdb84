"""Hours of an experiment by the days since a user's first request, in table ``experiment_days``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

_DELETE = "DELETE FROM experiment_days WHERE experiment = %(experiment)s AND time = %(hour)s"
_INSERT = """
INSERT INTO experiment_days (time, experiment, arm, day, shown, lists, watched, drafted, begun_old, begun_new)
SELECT h.time, h.experiment, h.arm, greatest(floor(extract(epoch FROM h.time - e.first_asked) / 86400), 0)::int AS day,
       sum(greatest(lists, drafted)), sum(lists), sum(watched), sum(drafted), sum(begun_old), sum(begun_new)
FROM experiment_hours AS h JOIN experiment_users AS e USING (experiment, user_id)
WHERE h.experiment = %(experiment)s AND h.time = %(hour)s GROUP BY h.time, h.experiment, h.arm, 4"""


def write_days(cursor: Any, experiment: str, hour: datetime) -> None:
    """Replace the rows of an hour by the sums of ``experiment_hours``, in the transaction that wrote these."""
    for statement in (_DELETE, _INSERT):
        cursor.execute(statement, {"experiment": experiment, "hour": hour})
