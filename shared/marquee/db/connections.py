"""Connections to PostgreSQL, and the translation of its errors."""

from __future__ import annotations

import select
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from marquee.config.masking import MASK, mask_password
from marquee.errors import DatabaseRefused, DatabaseUnavailable, DataRefused

# Errors that are permanent. All others (network, shutdown, disk full, deadlock, deadline) are transient.
_PERMANENT = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    psycopg2.ProgrammingError,
    psycopg2.NotSupportedError,
)
_SECRETS = ("password", "sslpassword", "passfile", "oauth_client_secret")
# Classes of SQLSTATE: data exception, integrity violation, program limit exceeded.
_DATA_ERRORS = ("22", "23", "54")


def connect(url: str, timeout_s: float, *, asynchronous: bool = False) -> Any:
    """Connect to ``url``. The caller of an asynchronous connection polls it.

    Raises :class:`DatabaseUnavailable` if there is no connection within ``timeout_s``.
    """
    secrets = _check_url(url)
    try:
        return psycopg2.connect(
            url,
            connect_timeout=max(2, round(timeout_s)),  # libpq treats 1 as 2.
            application_name="marquee",
            # The role or the database may have another default, which cannot store every sign.
            client_encoding="UTF8",
            # Ends a connection whose peer has not acknowledged data for this long.
            tcp_user_timeout=15_000,
            async_=asynchronous,
        )
    except (psycopg2.Error, UnicodeDecodeError) as error:
        reason = _one_line(error)
        for secret in secrets:
            reason = reason.replace(secret, MASK)
        # The cause is suppressed, because its text may hold the secrets.
        raise DatabaseUnavailable(f"No connection to {mask_password(url)}: {reason}") from None


def _check_url(url: str) -> list[str]:
    """Return the secrets in ``url`` as libpq reads it; raises DatabaseUnavailable if they are not well-formed.

    libpq's messages quote what it takes for the host, the port or an escape, which may be part of a password.
    """
    try:
        parts: dict[str, str] = parse_dsn(url)
    except (psycopg2.Error, ValueError):
        parts = {"host": "@"}
    host, port = parts.get("host", ""), parts.get("port", "")
    hidden = "@" in url.partition("?")[0] and "user" not in parts
    valid_port = not port or port.replace(",", "").isdigit()
    if "@" in host or hidden or not valid_port:
        raise DatabaseUnavailable(
            f"No connection to {mask_password(url)}: it is not a valid URL for libpq. Percent-encode special "
            "characters of the user and password, such as / as %2F, @ as %40 and % as %25"
        ) from None
    return [value for name in _SECRETS if (value := parts.get(name))]


def is_alive(connection: Any) -> bool:
    """Return whether an idle connection is still open. A readable socket means that the server closed it."""
    if connection.closed:
        return False
    waiter = select.poll()
    waiter.register(connection.fileno(), select.POLLIN)
    return not waiter.poll(0)


def translate(error: psycopg2.Error | UnicodeDecodeError) -> DatabaseUnavailable | DatabaseRefused:
    """Translate a psycopg2 error into the Marquee error whose type says whether a retry can help.

    PostgreSQL sends valid UTF-8, so that what cannot be decoded comes from another program.
    """
    if isinstance(error, UnicodeDecodeError):
        return DatabaseUnavailable(f"The server does not use PostgreSQL's protocol: {_one_line(error)}")
    if (error.pgcode or "").startswith(_DATA_ERRORS):
        return DataRefused(f"The database cannot hold this: {_one_line(error)}")
    if isinstance(error, _PERMANENT):
        hint = "Was it migrated (marquee migrate)?"
        return DatabaseRefused(f"The database refuses: {_one_line(error)}. {hint}")
    return DatabaseUnavailable(f"The database is unavailable: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
