"""Purpose, legal basis and retention term of each table with user ids, as listed in docs/privacy.md."""

from __future__ import annotations

from typing import NamedTuple

from marquee.db.pool import Database
from marquee.privacy.forget_journal import JOURNAL
from marquee.privacy.personal_tables import find_personal_tables

SERVICE = "the service that the user asked for, GDPR art. 6 (1) b"
INTEREST = "legitimate interest: a working and fair service, art. 6 (1) f"
CONSENT = "consent, art. 6 (1) a"
DUTY = "proof of an erasure, art. 5 (2)"


class Purpose(NamedTuple):
    """Purpose of a table, and the legal basis that the project proposes; the data controller decides."""

    use: str
    ground: str


PURPOSES = {
    "accounts": Purpose("new accounts", SERVICE),
    "app_outcomes": Purpose("what became of a list in the app", CONSENT),
    "app_outcome_users": Purpose("up to five users of a row of numbers of the app, to hide small groups", CONSENT),
    "attributed_events": Purpose("ratings and watches by the list that led to them", INTEREST),
    "attribution_queue": Purpose("events that await attribution", INTEREST),
    "clicks": Purpose("clicks that an app reports", INTEREST),
    "experiment_hours": Purpose("use per hour in an experiment", INTEREST),
    "experiment_pairs": Purpose("predictions of both models in an experiment", INTEREST),
    "experiment_users": Purpose("arm of an experiment", INTEREST),
    JOURNAL: Purpose("requests to be forgotten; the id only until the request is finished", DUTY),
    "impressions": Purpose("lists that were served, with what they were made from", INTEREST),
    "impressions_shown": Purpose("lists that an app has shown", INTEREST),
    "new_accounts": Purpose("users who seemed new when an event of theirs arrived", INTEREST),
    "predictions": Purpose("predictions beside ratings, for live accuracy", INTEREST),
    "quarantine": Purpose("malformed records, byte for byte", INTEREST),
    "ratings": Purpose("ratings, for lists and models", SERVICE),
    "recommendation_requests": Purpose("requests as the service logged them", INTEREST),
    "rejected_events": Purpose("deliveries that could not be read", INTEREST),
    "suspect_accounts": Purpose("accounts that seem to attack a movie, left out of training", INTEREST),
    "watch_sessions": Purpose("what was watched and how far, for lists and models", SERVICE),
    "watches": Purpose("minutes watched", SERVICE),
}

_TERMS = "SELECT table_name, extract(epoch FROM keep)::bigint / 86400 FROM retention_terms"
_POLICIES = """
SELECT hypertable_name::text, extract(epoch FROM (config ->> 'drop_after')::interval)::bigint / 86400
FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"""
_HAS_POLICIES = "SELECT to_regclass('timescaledb_information.jobs') IS NOT NULL"


def list_held(database: Database) -> list[tuple[str, str, str, str]]:
    """Return table, purpose, retention in days and legal basis of each table that may name a user.

    Raises ``KeyError`` for a table without a purpose or a retention term.
    """
    with database.transaction() as cursor:
        cursor.execute(_TERMS)
        days = dict(cursor.fetchall())
        cursor.execute(_HAS_POLICIES)
        if cursor.fetchone()[0]:
            cursor.execute(_POLICIES)
            days |= dict(cursor.fetchall())
    tables = sorted({*find_personal_tables(database), "quarantine", "rejected_events", JOURNAL})
    return [(table, PURPOSES[table].use, f"{days[table]} days", PURPOSES[table].ground) for table in tables]
