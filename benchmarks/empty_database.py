"""A PostgreSQL server with an empty, migrated database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marquee.db.migrate import migrate
from marquee.local.embedded_postgres import EmbeddedPostgres


@contextmanager
def empty_database() -> Iterator[EmbeddedPostgres]:
    """Yield the server; its data are removed at the end."""
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as directory:
        # For root, who starts the server as another user.
        Path(directory).chmod(0o755)
        with EmbeddedPostgres(Path(directory) / "postgres") as server:
            migrate(server.url)
            yield server
