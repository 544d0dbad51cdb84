"""Recommender of one fixed release, for notebooks and comparisons: without a thread, a database or deadlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from marquee.db.user_history import History, RatedMovie, WatchedMovie
from marquee.errors import NothingToRecommend, ReleaseError
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, read_current_release, read_release
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import LoadedRelease, ReleaseCache
from marquee.serving.user_readers import HistoryReader, cut_history

_NO_DEADLINE_MS = 600_000
_WHOLE_MINUTES = 600
"""Last minute that is recorded for a movie watched to its end."""
NO_HISTORY = History((), ())


class FixedReleaseCache(ReleaseCache):
    """Cache of one release, which never changes; None if there is none."""

    def __init__(self, store: ObjectStore, loaded: LoadedRelease | None) -> None:
        super().__init__(store, refresh_s=0.0, background=False)
        self._loaded = loaded

    @classmethod
    def load(cls, store: ObjectStore, release: Release) -> FixedReleaseCache:
        """Return the cache of a stored release. Raises :class:`NothingToRecommend` if it cannot be loaded."""
        cache = cls(store, None)
        if not cache._load(release):
            raise NothingToRecommend(f"release {release.number} is refused: {cache.refusals[-1].reason}")
        return cache

    def get(self, wait_s: float = 0.0) -> LoadedRelease | None:  # noqa: ARG002
        """Return the release."""
        return self._loaded

    def refresh(self) -> None:
        """Do nothing: the release is fixed."""


def load_recommender(
    url: str, *, release: int | None = None, arm: str | None = None, history: HistoryReader | None = None
) -> Recommender:
    """Return the recommender of a release in the object store at ``url``, the current release by default.

    With ``arm``, every user gets that arm. Raises :class:`ReleaseError` for a release or an arm that does not exist,
    :class:`NothingToRecommend` for a release that is refused.
    """
    store = connect(url, read_only=True)
    found = read_current_release(store)[0] if release is None else read_release(store, release)
    if arm is not None:
        chosen = [msgspec.structs.replace(known, weight=1.0) for known in found.arms if known.name == arm]
        if not chosen:
            valid = ", ".join(known.name for known in found.arms)
            raise ReleaseError(f"release {found.number} has no arm {arm[:80]!a}; it has {valid}")
        found = msgspec.structs.replace(found, arms=tuple(chosen), enrolled=1.0, interleaved=False)
    objects = DeadlineExecutor("object store", deadline_ms=_NO_DEADLINE_MS, threads=0)
    return Recommender(FixedReleaseCache.load(store, found), objects=objects, history=history)


class WrittenHistories:
    """Histories of users that the caller writes: ``histories.set("me", {"fargo+1996": 5}, watched=["up+2009"])``."""

    def __init__(self) -> None:
        self._histories: dict[str, History] = {}

    def __call__(self, user_id: str, since: datetime | None) -> History:
        """Return the history of a user since a time, as a ``HistoryReader``."""
        return cut_history(self._histories.get(user_id, NO_HISTORY), since)

    def set(
        self,
        user_id: str,
        ratings: Mapping[str, int],
        *,
        watched: Sequence[str] = (),
        time: datetime | None = None,
    ) -> None:
        """Replace a user's history: ratings by movie id, and movies watched to their end, all at ``time`` (now)."""
        at = time or datetime.now(UTC)
        self._histories[user_id] = History(
            tuple(RatedMovie(movie_id, rating, at) for movie_id, rating in ratings.items()),
            tuple(WatchedMovie(movie_id, _WHOLE_MINUTES, at) for movie_id in watched),
        )
