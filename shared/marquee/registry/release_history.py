"""Releases by the time at which they served."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime

from marquee.errors import ObjectNotFound
from marquee.registry.object_store.object_store import ObjectStore, Version
from marquee.registry.release import Release, read_current_release, read_if_changed, read_release


class ReleaseHistory:
    """All releases in the order of their numbers, refreshed by one conditional read."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._version: Version | None = None
        self._releases: list[Release] = []
        self._start_times: list[datetime] = []

    def refresh(self) -> None:
        """Read the releases published since the last call; raises the store's errors and ReleaseError."""
        try:
            current = self._read_current()
        except ObjectNotFound:
            return  # No release yet.
        if current is None:
            return
        release, version = current
        last = self._releases[-1].number if self._releases else 0
        for number in range(last + 1, release.number + 1):
            self._append(release if number == release.number else read_release(self._store, number))
        self._version = version

    @property
    def first(self) -> datetime | None:
        """Time at which the first release was published; None before that."""
        return self._start_times[0] if self._start_times else None

    def at(self, time: datetime) -> list[Release]:
        """Return the releases published by ``time``, newest (the one in service) first."""
        return self._releases[: bisect_right(self._start_times, time)][::-1]

    def _read_current(self) -> tuple[Release, Version] | None:
        if self._version is None:
            return read_current_release(self._store)
        return read_if_changed(self._store, self._version)

    def _append(self, release: Release) -> None:
        self._releases.append(release)
        # Publishers' clocks may differ; a release never starts before the one that it replaces.
        start_times = self._start_times
        start_times.append(max(release.created, start_times[-1]) if start_times else release.created)
