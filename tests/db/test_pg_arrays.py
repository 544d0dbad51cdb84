"""Tests of array literals: PostgreSQL reads the values back unchanged."""

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


def read_array(database: Database, literal: str, sql_type: str) -> list[object]:
    """Return the array that PostgreSQL reads from ``literal``."""
    ((values,),) = database.read(f"SELECT %s::{sql_type}[]", (literal,), deadline_ms=30_000)
    return list(values)


@_EVERY
@given(values=st.lists(_TEXT | st.sampled_from(["", "NULL", "null", '"', "\\", "{}", ",", "a b"])))
def test_text_array_round_trips(plain_database: Database, values: list[str]) -> None:
    """Quotes, braces, backslashes, blanks, the empty text and the word NULL."""
    assert read_array(plain_database, pg_arrays.text_array(values), "text") == values


@_EVERY
@given(values=st.lists(st.binary()))
def test_binary_array_round_trips(plain_database: Database, values: list[bytes]) -> None:
    """Any bytes."""
    assert [bytes(v) for v in read_array(plain_database, pg_arrays.binary_array(values), "bytea")] == values  # type: ignore[call-overload]


@_EVERY
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_number_array_round_trips(plain_database: Database, values: list[int]) -> None:
    """The full range of bigint."""
    assert read_array(plain_database, pg_arrays.number_array(values), "bigint") == values


@_EVERY
@given(values=st.lists(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))))
def test_time_array_round_trips(plain_database: Database, values: list[datetime]) -> None:
    """To the microsecond."""
    assert read_array(plain_database, pg_arrays.time_array(values), "timestamptz") == values
