"""``marquee db migrate``: apply the missing migrations, set the parts' logins, and prepare MongoDB if there is one."""

from __future__ import annotations

import argparse

from marquee.config.settings import Settings
from marquee.db.logins import set_logins
from marquee.db.migrate import migrate
from marquee.db.rating_steps import set_rating_step
from marquee.events.log_scale import LogScale

# An index of many documents takes longer than a request of the app may.
_DEADLINE_MS, _SELECTION_MS = 600_000, 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: the databases are settings."""


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Apply the missing migrations, set the logins, make the collections of the app, and print what was changed."""
    settings.require("database_url")
    applied = migrate(settings.database_url)
    if set_rating_step(settings.database_url, LogScale.named(settings.rating_scale).step):
        applied.append(f"the step of ratings from {settings.rating_scale}")
    logins = set_logins(settings.database_url, dict(settings.database_logins))
    if settings.documents_url:
        applied += _prepare_documents(settings)
    for name in applied:
        print(f"applied {name}")
    for name in logins:
        print(f"set the password of {name}")
    if not applied:
        print("nothing to do: the database is up to date")
    return 0


def _prepare_documents(settings: Settings) -> list[str]:
    from marquee.app.document_schema import prepare_documents
    from marquee.app.documents import Documents

    documents = Documents(settings.documents_url, deadline_ms=_DEADLINE_MS, selection_ms=_SELECTION_MS, pause_s=0)
    try:
        return prepare_documents(documents, settings.retention_days)
    finally:
        documents.close()
