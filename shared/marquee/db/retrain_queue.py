"""Who asks for a retraining, and which run took it up.

A request is open until a run has claimed it, and again when the lease is over if that run has failed, or left no
record of itself: it was killed. One request is open at a time, and what was answered is not asked again for a while.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from marquee.db.pool import Database

LEASE = timedelta(hours=2)
"""Longer than a retraining may run (``timeout_s`` in infra/schedules.yaml)."""
REQUEST_INTERVAL = timedelta(hours=24)
"""A model that was refused leaves the old one serving, and the reason standing."""

_OPEN = """(claimed IS NULL OR claimed <= %(now)s - %(lease)s AND NOT EXISTS (
    SELECT FROM retrain_runs WHERE retrain_runs.run = retrain_requests.run AND outcome <> 'failed'))"""

_ASK = f"""
INSERT INTO retrain_requests (time, check_name, model_version, reason)
SELECT %(now)s, %(check)s, %(version)s, %(reason)s
WHERE NOT EXISTS (SELECT FROM retrain_requests WHERE {_OPEN} OR (
    check_name = %(check)s AND model_version = %(version)s AND time > %(now)s - %(interval)s))
ON CONFLICT DO NOTHING"""  # noqa: S608  # Of our own text alone.

_FIND = f"SELECT reason FROM retrain_requests WHERE time <= %(now)s AND {_OPEN} ORDER BY time, id"  # noqa: S608

_TAKE = f"""
UPDATE retrain_requests SET claimed = %(now)s, run = %(run)s WHERE time <= %(now)s AND {_OPEN}
RETURNING reason"""  # noqa: S608


def request_retrain(database: Database, check: str, version: str, reason: str, now: datetime) -> bool:
    """Ask for a retraining because of ``check``, while ``version`` serves; whether that was a new request."""
    parameters = {
        "check": check,
        "version": version,
        "reason": reason,
        "now": now,
        "lease": LEASE,
        "interval": REQUEST_INTERVAL,
    }
    with database.transaction() as cursor:
        cursor.execute(_ASK, parameters)
        return bool(cursor.rowcount)


def pending(database: Database, now: datetime) -> list[str]:
    """The reasons of the open requests, oldest first."""
    with database.transaction() as cursor:
        cursor.execute(_FIND, {"now": now, "lease": LEASE})
        return [reason for (reason,) in cursor.fetchall()]


def claim(database: Database, run: str, now: datetime) -> list[str]:
    """Let ``run`` answer the open requests; the reasons of those that no other run was quicker to take."""
    with database.transaction() as cursor:
        cursor.execute(_TAKE, {"run": run, "now": now, "lease": LEASE})
        return [reason for (reason,) in cursor.fetchall()]
