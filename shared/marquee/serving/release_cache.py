"""The release that serves, loaded: lazily, once, refreshed in the background, swapped at one stroke.

All reading of the store is done by one thread, which begins with the first answer (gunicorn forks
after the import, and threads do not survive a fork). An answer takes hold of a :class:`LoadedRelease` and
finishes with it, whatever the thread swaps in meanwhile; the old models are let go with the last answer
that holds them. What was good stays while the store is away, or while a newer release is refused.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from marquee.errors import ArtifactRefused, MarqueeError, ObjectNotFound, ReleaseError
from marquee.registry import release as releases
from marquee.registry.object_store.object_store import ObjectStore, Version
from marquee.registry.release import Release
from marquee.serving.engine import Engine

log = logging.getLogger(__name__)

STEPS_BACK = 10
"""How many releases before a refused one are tried by an instance that has loaded none."""

REFUSALS_KEPT = 20
# For the answers that waited, before the processor is busy with making later ones faster.
_FIRST_ANSWER_S = 0.02
_PAUSE_UNLOADED_S = 1.0  # Between two looks while there is nothing to serve.


class LoadedRelease(msgspec.Struct, frozen=True):
    """A release and the engine of each of its arms."""

    release: Release
    engines: dict[str, Engine]  # arm's name -> engine; two arms of one version share theirs


class Refusal(msgspec.Struct, frozen=True):
    """A release that must not serve, and why. ``release`` is 0 where the document cannot be read."""

    release: int
    reason: str
    time: datetime


class ReleaseCache:
    """Follows ``releases/current.json`` of ``store``, looking every ``refresh_s``.

    ``refusals``: the last of them. ``store_away``: why the last look at the store failed, or empty.
    ``release_refused``: whether the current release was refused, so that another serves.
    """

    def __init__(
        self, store: ObjectStore, refresh_s: float, load: Callable[[ObjectStore, str], Engine] = Engine.load
    ) -> None:
        self.store = store
        self.refresh_s = refresh_s
        self.load = load
        self.refusals: list[Refusal] = []
        self.store_away = ""
        self.release_refused = False
        self._serving: LoadedRelease | None = None
        self._seen: Version | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked = threading.Event()
        self._stop = threading.Event()

    def serving(self, wait_s: float = 0.0) -> LoadedRelease | None:
        """What serves now. Where nothing has been loaded yet, waits up to ``wait_s`` for the first look."""
        serving = self._serving
        if serving is None:
            self._start()
            self._looked.wait(wait_s)
            serving = self._serving
        return serving

    def begin(self) -> None:
        """Begin to look, and do not wait; the first answer does it otherwise."""
        self._start()

    def close(self) -> None:
        """Stop looking; what is loaded stays."""
        self._stop.set()

    def look(self) -> None:
        """Look at the store once, and load what is new. Never raises."""
        try:
            self._look()
            self.store_away = ""
        except MarqueeError as error:
            self._away(f"{type(error).__name__}: {error}")
        except Exception as error:  # An instance that can never refresh again would be worse.
            log.exception("unexpected while looking for a release")
            self._away(f"{type(error).__name__}: {error}")

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="releases", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._looked.set()
            self._prepare()
            unloaded = self._serving is None
            self._stop.wait(min(self.refresh_s, _PAUSE_UNLOADED_S) if unloaded else self.refresh_s)

    def _prepare(self) -> None:
        """Whatever makes answers faster and is not needed for the first one. Never raises."""
        unprepared = [engine for engine in self._engines() if not engine.prepared]
        if not unprepared or self._stop.wait(_FIRST_ANSWER_S):
            return
        try:
            for engine in unprepared:
                engine.prepare()
        except Exception:  # As in look; answers go on as they are, and the next look tries again.
            log.exception("unexpected while making answers faster")

    def _look(self) -> None:
        try:
            found = self._changed()
        except ObjectNotFound:
            if self._serving is None:
                return  # No release yet, which is no fault.
            raise  # A document does not go away by itself: its store did.
        except ReleaseError as error:
            self._refuse(0, error)
            return
        if found is None:
            return
        release, version = found
        if self._try(release) or self._serving or any(map(self._try, self._before(release))):
            pass  # Something serves; if it is not the newest, the refusals say why.
        self._seen = version  # Last: where the store goes away in between, the next look begins anew.

    def _changed(self) -> tuple[Release, Version] | None:
        return (
            releases.current_release(self.store)
            if self._seen is None
            else releases.current_if_changed(self.store, self._seen)
        )

    def _before(self, release: Release) -> Iterable[Release]:
        for number in range(release.number - 1, max(release.number - 1 - STEPS_BACK, 0), -1):
            try:
                yield releases.read_release(self.store, number)
            except ReleaseError as error:
                self._refuse(number, error)

    def _try(self, release: Release) -> bool:
        """Load a release and swap it in, or refuse it; the store's faults go through."""
        loaded = {engine.version: engine for engine in self._engines()}
        try:
            for version in dict.fromkeys(arm.version for arm in release.arms):
                loaded[version] = loaded.get(version) or self.load(self.store, version)
        except ArtifactRefused as error:
            self._refuse(release.number, error)
            return False
        self._serving = LoadedRelease(release, {arm.name: loaded[arm.version] for arm in release.arms})
        self.release_refused = bool(self.refusals) and self.refusals[-1].release > release.number
        log.info("release %d serves: %s", release.number, [(a.name, a.version) for a in release.arms])
        return True

    def _engines(self) -> Iterable[Engine]:
        return self._serving.engines.values() if self._serving else ()

    def _refuse(self, number: int, error: MarqueeError) -> None:
        self.release_refused = True
        if self.refusals and (self.refusals[-1].release, self.refusals[-1].reason) == (number, str(error)):
            return  # The same document, still unreadable.
        log.error("release %d is refused, the one before goes on serving: %s", number, error)
        self.refusals = [*self.refusals, Refusal(number, str(error), datetime.now(UTC))][-REFUSALS_KEPT:]

    def _away(self, reason: str) -> None:
        if reason != self.store_away:
            log.warning("the object store is away, what is loaded goes on serving: %s", reason)
        self.store_away = reason
