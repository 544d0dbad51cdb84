"""Documents that the app stores about a user. No other module of the package depends on the app and MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marquee.app.documents import Documents
from marquee.app.user_documents import export_user, forget_user


class AppData:
    """The app's documents of all users."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @classmethod
    def connect(cls, url: str) -> AppData:
        """Connect to the database at ``url``, with the longer deadline of a job."""
        return cls(Documents(url, deadline_ms=20_000))

    def erase(self, user_id: str) -> dict[str, int]:
        """Delete the documents of a user, and return the number deleted by collection.

        The withdrawal that asks the monitor to delete derived rows is deleted as well, because
        :mod:`marquee.privacy.personal_tables` deletes these rows.
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
