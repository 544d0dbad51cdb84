"""Releases by the time at which they served."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime

from marquee.errors import ObjectNotFound, ReleaseError
from marquee.registry.object_store.object_store import ObjectStore, Version
from marquee.registry.release import (
    Release,
    iter_whole_releases,
    read_current_release,
    read_if_changed,
)
from marquee.registry.release_rules import MAX_NUMBER

log = logging.getLogger(__name__)


class ReleaseHistory:
    """All releases in the order of their numbers, refreshed by one conditional read.

    A number whose document is missing or damaged is left out: the release before it then counts as serving longer.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._version: Version | None = None
        self._releases: list[Release] = []
        self._start_times: list[datetime] = []

    def refresh(self) -> None:
        """Read the releases published since the last call. Raises the store's errors."""
        try:
            current = self._read_current()
        except ObjectNotFound:
            return  # No release yet.
        except ReleaseError:  # The numbered documents have the same content.
            self._append_missed()
            return
        if current is not None:
            release, version = current
            self._append_missed(below=release.number)
            if release.number > self._last_number:
                self._append(release)
            self._version = version

    @property
    def first(self) -> datetime | None:
        """Time at which the first release was published; None before that."""
        return self._start_times[0] if self._start_times else None

    def at(self, time: datetime) -> list[Release]:
        """Return the releases published by ``time``, newest (the one in service) first."""
        return self._releases[: bisect_right(self._start_times, time)][::-1]

    def list_steps(self, experiment: str) -> list[tuple[datetime, Release]]:
        """Return the releases of an experiment with the times at which they began to serve, oldest first."""
        timed = zip(self._start_times, self._releases, strict=True)
        return [(start, release) for start, release in timed if release.experiment == experiment]

    @property
    def newest(self) -> Release | None:
        """Return the newest release; None before the first."""
        return self._releases[-1] if self._releases else None

    @property
    def _last_number(self) -> int:
        return self._releases[-1].number if self._releases else 0

    def _append_missed(self, below: int = MAX_NUMBER + 1) -> None:
        missed = iter_whole_releases(self._store, above=self._last_number, below=below)
        for release in reversed(list(missed)):
            self._append(release)

    def _read_current(self) -> tuple[Release, Version] | None:
        if self._version is None:
            return read_current_release(self._store)
        return read_if_changed(self._store, self._version)

    def _append(self, release: Release) -> None:
        self._releases.append(release)
        created = self._find_time(release)
        # Publishers' clocks may differ; a release never starts before the one that it replaces.
        start_times = self._start_times
        start_times.append(max(created, start_times[-1]) if start_times else created)

    def _find_time(self, release: Release) -> datetime:
        """Return the publisher's time, unless it is ahead of ours: then the store's, or now."""
        now = datetime.now(UTC)
        if release.created <= now:
            return release.created
        modified: Callable[[str], datetime] | None = getattr(self._store, "modified", None)
        try:
            time = min(modified(f"releases/{release.number}.json"), now) if modified else now
        except ObjectNotFound:
            time = now
        log.warning(
            "release %d says that it was created at %s, which is still to come; %s counts instead",
            release.number,
            release.created,
            time,
        )
        return time
