"""Connection to MongoDB, made by the process that first uses it, with deadlines and durable writes.

The client of pymongo is not safe across a fork, and its defaults (100 connections, no deadline) exhaust a server that
many short-lived instances use. After a failure, calls fail immediately for a short time, so that a page that
reads several documents waits for at most one deadline.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from bson.errors import BSONError
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase
from pymongo.errors import ConfigurationError, ConnectionFailure, InvalidURI, PyMongoError

from marquee.errors import DocumentsRefused, DocumentsUnavailable, SettingsError

Document: TypeAlias = "dict[str, Any]"

DEFAULT_DATABASE = "marquee"
"""Name of the database, if the URL names none."""
SELECTION_MS, DEADLINE_MS = 1_000, 1_500
"""Deadlines in milliseconds for finding a server, and for a whole operation."""
PAUSE_S = 2.0
"""Seconds after a failure during which operations fail immediately."""


class Documents:
    """The database at ``url``, safe to share between threads and across a fork."""

    def __init__(
        self,
        url: str,
        *,
        deadline_ms: int = DEADLINE_MS,
        selection_ms: int = SELECTION_MS,
        pause_s: float = PAUSE_S,
        connections: int = 8,
    ) -> None:
        self.url, self._deadline_ms, self._selection_ms = url, deadline_ms, selection_ms
        self._pause_s, self._connections = pause_s, connections
        self._lock = threading.Lock()
        self._client: MongoClient[Document] | None = None
        self._pid = 0
        self._paused_until = 0.0

    @property
    def client(self) -> MongoClient[Document]:
        """The client of this process. Raises :class:`SettingsError` if the URL is invalid."""
        with self._lock:
            if self._client is None or self._pid != os.getpid():
                self._client, self._pid = self._connect(), os.getpid()
            return self._client

    @property
    def database(self) -> MongoDatabase[Document]:
        """The database that the URL names."""
        return self.client.get_default_database(DEFAULT_DATABASE)

    @contextmanager
    def collection(self, name: str) -> Iterator[Collection[Document]]:
        """Provide a collection for one operation.

        Raises :class:`DocumentsUnavailable` if a retry may help, and :class:`DocumentsRefused` if it cannot.
        """
        with self.translated():
            yield self.database[name]

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate pymongo's errors of an operation; fail immediately for ``pause_s`` after a failure."""
        if time.monotonic() < self._paused_until:
            raise DocumentsUnavailable(f"MongoDB was unavailable within the last {self._pause_s:g} s; try again later")
        try:
            yield
        except PyMongoError as error:
            if isinstance(error, ConnectionFailure) or error.timeout:
                self._paused_until = time.monotonic() + self._pause_s
                raise DocumentsUnavailable(f"MongoDB is unavailable: {type(error).__name__}") from error
            raise DocumentsRefused(f"MongoDB refused: {type(error).__name__}: {str(error)[:300]}") from error
        except BSONError as error:
            raise DocumentsRefused(f"the value cannot be stored as a document: {error}") from error

    def ping(self) -> None:
        """Ping the server. Raises :class:`DocumentsUnavailable` or :class:`DocumentsRefused`."""
        with self.translated():
            self.client.admin.command("ping")

    def close(self) -> None:
        """Close the connections; the next operation opens new ones."""
        with self._lock:
            if self._client is not None and self._pid == os.getpid():
                self._client.close()
            self._client = None

    def _connect(self) -> MongoClient[Document]:
        try:
            return MongoClient(
                self.url,
                appname="marquee",
                maxPoolSize=self._connections,
                maxIdleTimeMS=30_000,
                serverSelectionTimeoutMS=self._selection_ms,
                timeoutMS=self._deadline_ms,
                tz_aware=True,
                w="majority",
                journal=True,
            )
        except (InvalidURI, ConfigurationError, ValueError) as error:
            # The message of pymongo may contain the URL, which has a password.
            raise SettingsError(
                f"MARQUEE_DOCUMENTS_URL is not a URL of MongoDB ({type(error).__name__}); "
                "write mongodb://HOST:PORT/DATABASE or mongodb+srv://HOST/DATABASE"
            ) from error
