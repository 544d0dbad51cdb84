"""The table of docs/privacy.md, from the schema and its retention terms: ``python -m docs.privacy_table``."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from docs.marked_sections import replace_section
from docs.privacy_purposes import list_held

from marquee.cli.text_table import markdown_table
from marquee.db.migrate import migrate
from marquee.db.pool import Database

PAGE = Path(__file__).with_name("privacy.md")


def render_page(page: str, database: Database) -> str:
    """Return ``page`` with the table as the migrated ``database`` has it."""
    rows = [(f"`{table}`", use, kept, ground) for table, use, kept, ground in list_held(database)]
    return replace_section(page, "held", markdown_table(("table", "what for", "kept", "ground"), rows))


def main() -> None:
    """Write the page, with a database that is started for it."""
    from marquee.local.embedded_postgres import EmbeddedPostgres

    with tempfile.TemporaryDirectory() as directory, EmbeddedPostgres(Path(directory)) as server:
        url = server.create_database("privacy")
        migrate(url)
        with closing(Database(url)) as database:
            PAGE.write_text(render_page(PAGE.read_text(), database))


if __name__ == "__main__":
    main()
