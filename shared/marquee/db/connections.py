"""Connections, and what goes wrong with them in our own words."""

from __future__ import annotations

import select
from typing import Any

import psycopg2

from marquee.config.fields import mask_password
from marquee.errors import DatabaseRefused, DatabaseUnavailable, DataRefused

# Refusals that no repetition mends. All else (network, shutdown, disk full, deadlock, deadline) may pass.
_REFUSALS = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    psycopg2.ProgrammingError,
    psycopg2.NotSupportedError,
)
# Classes of SQLSTATE: data exception, integrity violation, program limit exceeded.
_OF_DATA = ("22", "23", "54")


def connect(url: str, timeout_s: float, *, asynchronous: bool = False) -> Any:
    """A connection to ``url``; raises DatabaseUnavailable. Asynchronous ones still have to be waited for."""
    try:
        return psycopg2.connect(
            url,
            connect_timeout=max(2, round(timeout_s)),  # libpq takes 1 for 2.
            application_name="marquee",
            # What is written and not acknowledged for so long, nobody is there to read.
            tcp_user_timeout=15_000,
            async_=asynchronous,
        )
    except psycopg2.Error as error:
        raise DatabaseUnavailable(f"No connection to {mask_password(url)}: {_one_line(error)}") from error


def is_alive(connection: Any) -> bool:
    """Whether an idle connection is still good: of one that ended, the socket has become readable."""
    if connection.closed:
        return False
    waiter = select.poll()
    waiter.register(connection.fileno(), select.POLLIN)
    return not waiter.poll(0)


def translate(error: psycopg2.Error) -> DatabaseUnavailable | DatabaseRefused:
    """The error of ours that says whether to try again."""
    if (error.pgcode or "").startswith(_OF_DATA):
        return DataRefused(f"The database cannot hold this: {_one_line(error)}")
    if isinstance(error, _REFUSALS):
        hint = "Was it brought up to date (marquee migrate)?"
        return DatabaseRefused(f"The database refuses: {_one_line(error)}. {hint}")
    return DatabaseUnavailable(f"The database is away: {_one_line(error)}")


def _one_line(error: psycopg2.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
