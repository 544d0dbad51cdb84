"""Logins of the test server besides the owner of the databases."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from marquee.local.embedded_postgres import EmbeddedPostgres


def execute_as_admin(postgres: EmbeddedPostgres, statement: str) -> None:
    """Execute a statement as the administrator of the server."""
    with closing(psycopg2.connect(postgres.admin_url())) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def url_as(url: str, name: str) -> str:
    """Return ``url`` with another login."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}", query=""))
