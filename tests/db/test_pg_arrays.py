"""Array literals: what goes in comes out of the database."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marquee.db import pg_arrays
from marquee.db.pool import Database

pytestmark = pytest.mark.servers

_EVERY = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def through(database: Database, literal: str, kind: str) -> list[object]:
    """The array that PostgreSQL reads from ``literal``."""
    ((values,),) = database.read(f"SELECT %s::{kind}[]", (literal,), deadline_ms=30_000)
    return list(values)


@_EVERY
@given(values=st.lists(_TEXT | st.sampled_from(["", "NULL", "null", '"', "\\", "{}", ",", "a b"])))
def test_texts(plain_database: Database, values: list[str]) -> None:
    """Quotes, braces, backslashes, blanks, nothing at all, and the word NULL."""
    assert through(plain_database, pg_arrays.text_array(values), "text") == values


@_EVERY
@given(values=st.lists(st.binary()))
def test_binaries(plain_database: Database, values: list[bytes]) -> None:
    assert [bytes(v) for v in through(plain_database, pg_arrays.binary_array(values), "bytea")] == values  # type: ignore[call-overload]


@_EVERY
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_numbers(plain_database: Database, values: list[int]) -> None:
    assert through(plain_database, pg_arrays.number_array(values), "bigint") == values


@_EVERY
@given(values=st.lists(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))))
def test_times(plain_database: Database, values: list[datetime]) -> None:
    """To the microsecond."""
    assert through(plain_database, pg_arrays.time_array(values), "timestamptz") == values
