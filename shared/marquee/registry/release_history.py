"""Which release served when, read from the releases that the store keeps."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime

from marquee.errors import ObjectNotFound
from marquee.registry import release as releases
from marquee.registry.object_store.object_store import ObjectStore, Version
from marquee.registry.release import Release


class ReleaseHistory:
    """All releases in the order of their numbers; refreshed by one conditional read."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._seen: Version | None = None
        self._releases: list[Release] = []
        self._created: list[datetime] = []

    def refresh(self) -> None:
        """Take in what was published since; raises the store's errors and ReleaseError."""
        try:
            found = self._changed()
        except ObjectNotFound:
            return  # No release yet.
        if found is None:
            return
        newest, version = found
        known = self._releases[-1].number if self._releases else 0
        for number in range(known + 1, newest.number + 1):
            self._add(newest if number == newest.number else releases.read_release(self._store, number))
        self._seen = version

    @property
    def first(self) -> datetime | None:
        """When the first release was published; None before that."""
        return self._created[0] if self._created else None

    def at(self, time: datetime) -> list[Release]:
        """The releases that existed at ``time``, the one that served first."""
        return self._releases[: bisect_right(self._created, time)][::-1]

    def _changed(self) -> tuple[Release, Version] | None:
        return (
            releases.current_release(self._store)
            if self._seen is None
            else releases.current_if_changed(self._store, self._seen)
        )

    def _add(self, release: Release) -> None:
        self._releases.append(release)
        # Publishers' clocks may differ; a release never begins before the one that it replaces.
        self._created.append(max(release.created, self._created[-1]) if self._created else release.created)
