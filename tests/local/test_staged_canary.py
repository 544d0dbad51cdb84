"""The bad model of a demo passes the checks of an artifact and predicts worse than the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.serving.models import release_model, two_group_model

from marquee.errors import ReleaseError
from marquee.local.staged_canary import copy_shuffled, stage_bad_canary
from marquee.registry.artifact import verify_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.serving.engine import Engine


def test_stage_bad_canary_starts_a_worse_model(tmp_path: Path) -> None:
    """A tenth of the users gets a model whose vectors belong to other movies; a second staging has another name."""
    store = FileStore(tmp_path)
    with pytest.raises(ReleaseError, match="no model serves yet"):
        stage_bad_canary(store)
    good = release_model(store, two_group_model(n_items=40))
    release = stage_bad_canary(store)
    bad = release.arms[1].version
    verify_artifact(store, bad)
    assert (release.arms[0].version, release.enrolled, release.author) == (good, 0.2, "demo")
    assert copy_shuffled(store, good) == bad
    known = Engine.load(store, good), Engine.load(store, bad)
    rows = np.arange(40)
    record = known[0].read_record("1000")
    assert record is not None
    right, wrong = (engine.item_factors.item_vectors[rows] @ record.vector for engine in known)
    assert sorted(right) == sorted(wrong)
    assert not np.allclose(right, wrong)
