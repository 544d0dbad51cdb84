"""An embedded MongoDB-compatible server from a package, on one directory and one port of 127.0.0.1.

The server is SecantusDB, which keeps its data in WiredTiger. It runs as a process of its own and is never imported,
because it is licensed under the GPL.
"""

from __future__ import annotations

import sys
from pathlib import Path

from marquee.app.documents import Documents
from marquee.errors import MarqueeError
from marquee.local.process import Process, free_port

_PING_MS = 500


class EmbeddedMongo:
    """A server for development and tests, without text indexes, time-series collections and capped collections.

    A later start continues with the data in ``directory``, and keeps a ``port`` that was chosen at random.
    ``mongo.log`` is in ``logs``, by default ``directory``.
    """

    def __init__(self, directory: Path, port: int | None = None, *, logs: Path | None = None) -> None:
        self.directory = directory.resolve()
        self.port = port or free_port()
        self._log = (logs or self.directory) / "mongo.log"
        self.process: Process | None = None
        """The server's process; None before the first start."""

    @property
    def url(self) -> str:
        """The URL of the database ``marquee``."""
        return self.database_url("marquee")

    def database_url(self, database: str) -> str:
        """Return the URL of ``database``, which the first write makes."""
        return f"mongodb://127.0.0.1:{self.port}/{database}?directConnection=true"

    @property
    def pids(self) -> tuple[int, ...]:
        """The process id as a tuple; empty when the server does not run."""
        return self.process.pids if self.process else ()

    def start(self) -> EmbeddedMongo:
        """Start the server; return when it answers a ping."""
        self.directory.mkdir(parents=True, exist_ok=True)
        script = Path(sys.executable).parent / "secantusd-py"
        argv = [str(script), "--host", "127.0.0.1", "--port", str(self.port)]
        argv += ["--storage-path", str(self.directory / "mongo-data"), "--log-level", "WARNING"]
        self.process = process = Process("mongo", argv, self._log, cwd=self.directory)
        process.start()
        # The server accepts connections a moment before it answers.
        process.wait_healthy(self.is_healthy, 60)
        return self

    def is_healthy(self) -> bool:
        """Return True if the server answers a ping."""
        documents = Documents(self.url, deadline_ms=_PING_MS, selection_ms=_PING_MS, pause_s=0, connections=1)
        try:
            documents.ping()
        except MarqueeError:
            return False
        finally:
            documents.close()
        return True

    def stop(self) -> None:
        """Stop the server."""
        if self.process:
            self.process.stop()

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        if self.process:
            self.process.kill()
            self.process.stop()

    def __enter__(self) -> EmbeddedMongo:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
