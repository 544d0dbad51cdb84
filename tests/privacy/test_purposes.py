"""The page of what is held: every table has a purpose, a ground and a term, and the page says the same."""

from __future__ import annotations

import pytest
from docs.privacy_purposes import PURPOSES, list_held
from docs.privacy_table import PAGE, render_page

from marquee.db.pool import Database


def test_list_held_has_purpose_and_term_of_every_table(database: Database) -> None:
    """Both kinds of database keep rows equally long, and no purpose is of a table that is gone."""
    held = list_held(database)
    assert {table for table, *_ in held} == PURPOSES.keys()
    assert [f"| `{table}` | {use} | {kept} | {ground} |" for table, use, kept, ground in held] == [
        line for line in PAGE.read_text().splitlines() if line.startswith("| `") and "| `privacy_marks`" not in line
    ]


def test_list_held_table_without_purpose_raises(plain_database: Database) -> None:
    """A new table with user ids fails the page until its purpose is stated."""
    with plain_database.transaction() as cursor:
        cursor.execute("CREATE TABLE moods (user_id text)")
    with pytest.raises(KeyError, match="moods"):
        list_held(plain_database)


def test_privacy_page_is_what_the_schema_says(plain_database: Database) -> None:
    """The page is generated: run ``python -m docs.privacy_table`` after a change of tables or terms."""
    assert render_page(PAGE.read_text(), plain_database) == PAGE.read_text()
