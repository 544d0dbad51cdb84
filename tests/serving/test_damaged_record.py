"""Tests of users whose record in the artifact is damaged."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from tests.serving.models import release_model

from marquee.registry.object_store.file_store import FileStore
from marquee.serving.deadline import DeadlineExecutor
from marquee.serving.recommender import Recommender
from marquee.serving.release_cache import ReleaseCache

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def _list_damaged(recommender: Recommender) -> set[int]:
    note = ("user-record-damaged",)
    return {u for u in range(6) if recommender.answer(str(1000 + u), NOW).notes == note}


def test_answer_corrupt_record_has_a_note_of_its_own(store: FileStore) -> None:
    """The note stays while the missing record is cached; an unknown user in a whole block has none."""
    version = release_model(store)
    cache = ReleaseCache(store, refresh_s=3_600, background=False)
    recommender = Recommender(cache, objects=DeadlineExecutor("object store", deadline_ms=10_000))
    assert recommender.answer("77", NOW).notes == ()
    path = store.root / "models" / version / "users.bin"
    path.chmod(0o644)
    with path.open("r+b") as file:  # In place: the process holds this file.
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    damaged = _list_damaged(recommender)
    assert damaged
    assert _list_damaged(recommender) == damaged
    assert recommender.answer("77", NOW).notes == ()
