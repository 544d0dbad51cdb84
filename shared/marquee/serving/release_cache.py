"""Cache of the current release: loaded lazily, refreshed in the background, replaced atomically.

One thread does all reading of the store. It starts with the first request, because gunicorn forks after the import and
threads do not survive a fork. A request keeps the :class:`LoadedRelease` it started with. Models that are replaced are
freed with the last request that uses them. While the store is unavailable, or the newest release is refused, the last
good release stays loaded.

The thread may get no processor between requests: a platform freezes idle instances. A request that finds the last look
at the store overdue therefore waits for the next one, for a bounded time.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice

import msgspec

from marquee.errors import ArtifactRefused, MarqueeError, ObjectNotFound, ReleaseError
from marquee.registry.arm_assignment import OUTSIDE
from marquee.registry.object_store.object_store import ObjectStore, Version
from marquee.registry.release import (
    Release,
    iter_whole_releases,
    read_current_release,
    read_if_changed,
)
from marquee.registry.release_rules import MAX_NUMBER
from marquee.serving.engine import Engine

log = logging.getLogger(__name__)

MAX_STEPS_BACK = 10
"""Earlier releases that an instance tries if it has loaded none and the newest is refused."""

MAX_REFUSALS = 20
# Lets the requests that waited for the release finish before the processor builds the top-k index.
_PREPARE_DELAY_S = 0.02
_OVERDUE_WAIT_S = 0.15
"""Time that requests wait for an overdue look, together: a store that hangs must not delay each of them."""

_OVERDUE_SLACK_S = 0.1  # The thread of a busy process wakes late.
_RETRY_UNLOADED_S = 1.0  # Interval of refreshes while nothing is loaded.


class LoadedRelease(msgspec.Struct, frozen=True):
    """A release and the engine of each of its arms."""

    release: Release
    engines: dict[str, Engine]  # Name of the arm, or OUTSIDE -> engine; arms of one version share an engine.


class Refusal(msgspec.Struct, frozen=True):
    """A release that must not serve, with the reason. ``release`` is 0 if the document cannot be read."""

    release: int
    reason: str
    time: datetime


class ReleaseCache:
    """Cache that follows ``releases/current.json`` of ``store``, with a refresh every ``refresh_s``.

    With ``background=False`` there is no thread. :meth:`get` then refreshes while nothing is loaded, and later changes
    are seen only when the caller calls :meth:`refresh`.

    ``refusals`` holds the last refusals. ``store_error`` is the reason why the last refresh failed, empty if it
    succeeded. ``release_refused`` is True if the current release was refused and another one serves.
    """

    def __init__(
        self,
        store: ObjectStore,
        refresh_s: float,
        load: Callable[[ObjectStore, str], Engine] = Engine.load,
        *,
        background: bool = True,
    ) -> None:
        self._store = store
        self._refresh_s = refresh_s
        self._load_engine = load
        self._background = background
        self.refusals: list[Refusal] = []
        self.store_error = ""
        self.release_refused = False
        self._loaded: LoadedRelease | None = None
        self._document_version: Version | None = None
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._refreshed = threading.Event()
        self._stop = threading.Event()
        self._looked = threading.Condition()
        self._overdue_at = math.inf
        self._wait_until = 0.0

    def get(self, wait_s: float = 0.0) -> LoadedRelease | None:
        """Return the loaded release. If there is none yet, wait up to ``wait_s`` for the first refresh."""
        loaded = self._loaded
        if loaded is None:
            self.start()
            self._refreshed.wait(wait_s)
            return self._loaded
        if time.monotonic() > self._overdue_at:
            self._await_look()
            return self._loaded
        return loaded

    def explain_nothing(self) -> str:
        """Return why no release is loaded, for an error message."""
        if self.store_error:
            return f"No release could be loaded: {self.store_error}."
        if self.refusals:
            return f"The release was refused, and there is no other: {self.refusals[-1].reason}."
        return "There is no release yet: train a model with `marquee retrain`."

    def start(self) -> None:
        """Start to load the release without waiting for it; otherwise the first request does."""
        with self._start_lock:
            if not self._background:
                self.refresh()
                self._refreshed.set()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="releases", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop refreshing; the loaded release stays."""
        self._stop.set()

    def refresh(self) -> None:
        """Check the store once and load a changed release. Never raises."""
        try:
            self._load_if_changed()
            self.store_error = ""
        except MarqueeError as error:
            self._record_store_error(f"{type(error).__name__}: {error}")
        except Exception as error:  # The thread must survive: without it the instance would never refresh again.
            log.exception("unexpected error while refreshing the release")
            self._record_store_error(f"{type(error).__name__}: {error}")

    def _run(self) -> None:
        while not self._stop.is_set():
            self.refresh()
            self._refreshed.set()
            self._end_look()
            self._prepare_engines()
            unloaded = self._loaded is None
            self._stop.wait(min(self._refresh_s, _RETRY_UNLOADED_S) if unloaded else self._refresh_s)

    def _end_look(self) -> None:
        with self._looked:
            self._overdue_at = time.monotonic() + 1.1 * self._refresh_s + _OVERDUE_SLACK_S
            self._wait_until = 0.0
            self._looked.notify_all()

    def _await_look(self) -> None:
        """Wait until the overdue look has ended, or until the requests have waited long enough for it."""
        with self._looked:
            now = time.monotonic()
            self._wait_until = self._wait_until or now + _OVERDUE_WAIT_S
            self._looked.wait_for(lambda: time.monotonic() <= self._overdue_at, max(self._wait_until - now, 0))

    def _prepare_engines(self) -> None:
        """Build the top-k indexes, which the first request does not need. Never raises."""
        unprepared = [engine for engine in self._list_engines() if not engine.prepared]
        if not unprepared or self._stop.wait(_PREPARE_DELAY_S):
            return
        try:
            for engine in unprepared:
                engine.prepare()
        except Exception:  # Requests work without the index; the next refresh tries again.
            log.exception("unexpected error while building a top-k index")

    def _load_if_changed(self) -> None:
        try:
            current = self._read_current()
        except ObjectNotFound:
            if self._loaded is None:
                self._load_substitute()
                return
            raise  # The document is never deleted, so the store itself is missing.
        except ReleaseError as error:
            self._refuse(0, error)
            self._document_version = None  # What replaces it may be the loaded document.
            if self._loaded is None:
                self._load_substitute()
            return
        if current is None:
            return
        release, version = current
        if self._load(release):
            self.release_refused = False
        elif self._loaded is None:
            self._load_substitute(below=release.number)
        # Set last: if the store failed in between, the next refresh starts over.
        self._document_version = version

    def _read_current(self) -> tuple[Release, Version] | None:
        if self._document_version is None:
            return read_current_release(self._store)
        return read_if_changed(self._store, self._document_version)

    def _load_substitute(self, below: int = MAX_NUMBER + 1) -> None:
        """Load the newest numbered release that is whole and whose artifacts are; there may be none."""
        for release in islice(iter_whole_releases(self._store, below=below), MAX_STEPS_BACK):
            if self._load(release):
                self.release_refused = True
                return

    def _load(self, release: Release) -> bool:
        """Load a release and replace the current one with it, or refuse it. Raises the store's errors."""
        engines = {engine.version: engine for engine in self._list_engines()}
        try:
            for version in dict.fromkeys(arm.version for arm in release.arms):
                engine = engines.get(version) or self._load_engine(self._store, version)
                _check_manifest(engine, release.manifests.get(version))
                engines[version] = engine
        except ArtifactRefused as error:
            self._refuse(release.number, error)
            return False
        by_arm = {arm.name: engines[arm.version] for arm in release.arms}
        if release.enrolled < 1:
            by_arm[OUTSIDE] = engines[release.arms[0].version]
        self._loaded = LoadedRelease(release, by_arm)
        log.info("loaded release %d: %s", release.number, [(a.name, a.version) for a in release.arms])
        return True

    def _list_engines(self) -> Iterable[Engine]:
        return self._loaded.engines.values() if self._loaded else ()

    def _refuse(self, number: int, error: MarqueeError) -> None:
        self.release_refused = True
        if self.refusals and (self.refusals[-1].release, self.refusals[-1].reason) == (number, str(error)):
            return  # The same unreadable document as before.
        log.error("release %d was refused, the previous one stays loaded: %s", number, error)
        self.refusals = [*self.refusals, Refusal(number, str(error), datetime.now(UTC))][-MAX_REFUSALS:]

    def _record_store_error(self, reason: str) -> None:
        if reason != self.store_error:
            log.warning("the object store is unavailable, the loaded release stays: %s", reason)
        self.store_error = reason


def _check_manifest(engine: Engine, released: str | None) -> None:
    """Raise :class:`ArtifactRefused` if the manifest is another than the one that was released."""
    if released and engine.item_factors.manifest_sha256 != released:
        raise ArtifactRefused(f"the manifest of {engine.version} has changed since it was released")
