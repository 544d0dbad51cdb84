"""The app's documents of a user. Only this module of the package knows the app, and so MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marquee.app.documents import Documents
from marquee.app.user_documents import export_user, forget_user


class AppData:
    """The documents of the app, of all users."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @classmethod
    def connect(cls, url: str) -> AppData:
        """Return the documents at ``url``; the deadline is that of a job."""
        return cls(Documents(url, deadline_ms=20_000))

    def erase(self, user_id: str) -> dict[str, int]:
        """Delete the documents of a user, and return their numbers by collection.

        The note that asks the monitor to delete what it derived goes as well: the rows are deleted with the others.
        """
        deleted = forget_user(self._documents, user_id, datetime.now(UTC))
        with self._documents.collection("withdrawals") as withdrawals:
            withdrawals.delete_many({"_id": user_id})
        return {f"app.{name}": n for name, n in deleted.items()}

    def export(self, user_id: str) -> dict[str, Any]:
        """Return the documents of a user by collection."""
        return export_user(self._documents, user_id)

    def close(self) -> None:
        """Close the connections."""
        self._documents.close()
