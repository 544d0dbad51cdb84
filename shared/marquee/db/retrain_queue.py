"""Queue of retraining requests.

A request is open until a run claims it. It opens again when the lease ends, if the run failed or left no
record because it was killed. At most one request is open at a time, and the same request is not repeated
within ``REQUEST_INTERVAL``.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from marquee.db.pool import Database

LEASE = timedelta(hours=2)
"""Time after which a claimed request opens again: longer than ``timeout_s`` of a run (infra/schedules.yaml)."""
REQUEST_INTERVAL = timedelta(hours=24)
"""Minimum time between equal requests: a refused model leaves the old one serving, so the reason persists."""

_OPEN = """(claimed IS NULL OR claimed <= %(now)s - %(lease)s AND NOT EXISTS (
    SELECT FROM retrain_runs WHERE retrain_runs.run = retrain_requests.run AND outcome <> 'failed'))"""

_INSERT = f"""
INSERT INTO retrain_requests (time, check_name, model_version, reason)
SELECT %(now)s, %(check)s, %(version)s, %(reason)s
WHERE NOT EXISTS (SELECT FROM retrain_requests WHERE {_OPEN} OR (
    check_name = %(check)s AND model_version = %(version)s AND time > %(now)s - %(interval)s))
ON CONFLICT DO NOTHING"""  # noqa: S608

_SELECT_OPEN = f"SELECT reason FROM retrain_requests WHERE time <= %(now)s AND {_OPEN} ORDER BY time, id"  # noqa: S608

_CLAIM = f"""
UPDATE retrain_requests SET claimed = %(now)s, run = %(run)s WHERE time <= %(now)s AND {_OPEN}
RETURNING reason"""  # noqa: S608


def request_retrain(database: Database, check: str, version: str, reason: str, now: datetime) -> bool:
    """Request a retraining because of ``check``, while ``version`` serves; return whether the request is new."""
    parameters = {
        "check": check,
        "version": version,
        "reason": reason,
        "now": now,
        "lease": LEASE,
        "interval": REQUEST_INTERVAL,
    }
    with database.transaction() as cursor:
        cursor.execute(_INSERT, parameters)
        return bool(cursor.rowcount)


def pending(database: Database, now: datetime) -> list[str]:
    """Return the reasons of the open requests, oldest first."""
    with database.transaction() as cursor:
        cursor.execute(_SELECT_OPEN, {"now": now, "lease": LEASE})
        return [reason for (reason,) in cursor.fetchall()]


def claim(database: Database, run: str, now: datetime) -> list[str]:
    """Claim the open requests for ``run``; return the reasons of those that no other run claimed first."""
    with database.transaction() as cursor:
        cursor.execute(_CLAIM, {"run": run, "now": now, "lease": LEASE})
        return [reason for (reason,) in cursor.fetchall()]
