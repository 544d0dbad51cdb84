"""A rollback pauses automatic releases until they are resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.training.runs import PARAMS_FILE, retrain_until

from marquee.cli.main import main
from marquee.errors import ReleaseError
from marquee.registry import rollout
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import read_current_release


def test_retrain_after_rollback_is_refused_until_resumed(store: ObjectStore, block_base: Path) -> None:
    """A scheduled retraining does not undo a rollback, however often it runs, until automatic releases resume."""
    first = retrain_until(store, block_base, 800)
    assert retrain_until(store, block_base, 900).outcome == "released"
    rolled_back = rollout.rollback(store, author="amy", reason="odd lists")
    assert rolled_back.paused
    for second in (950, 980):
        refused = retrain_until(store, block_base, second)
        assert refused.outcome == "refused"
        assert "paused until `marquee release resume` (release 3: odd lists)" in refused.reason
        assert refused.comparisons
    assert read_current_release(store)[0].arms[0].version == first.version
    resumed = rollout.resume(store, author="amy")
    assert (resumed.arms, resumed.salt, resumed.previous) == (
        rolled_back.arms,
        rolled_back.salt,
        rolled_back.previous,
    )
    assert rollout.resume(store, author="amy") == resumed
    assert retrain_until(store, block_base, 1000).outcome == "released"


def test_retrain_forced_releases_while_paused(store: ObjectStore, block_base: Path) -> None:
    """A forced release is published, and later ones still wait; so they do after a promotion."""
    first = retrain_until(store, block_base, 800)
    retrain_until(store, block_base, 900)
    rollout.rollback(store, author="amy")
    assert retrain_until(store, block_base, 950, force=True).outcome == "released"
    assert retrain_until(store, block_base, 980).outcome == "refused"
    assert first.version is not None
    assert rollout.promote(store, first.version, author="amy").paused
    assert retrain_until(store, block_base, 1000).outcome == "refused"


def test_resume_without_release_is_refused(store: ObjectStore) -> None:
    """There is nothing to resume before the first release."""
    with pytest.raises(ReleaseError, match="no release yet"):
        rollout.resume(store, author="amy")


def test_release_commands_tell_and_lift_the_pause(
    store: ObjectStore,
    block_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rollback and show say that releases are paused; retrain ends with 3, or releases with --force."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{tmp_path}/objects")
    monkeypatch.delenv("MARQUEE_DATABASE_URL", raising=False)
    for second in (800, 900):
        retrain_until(store, block_base, second)
    assert main(["release", "rollback"]) == 0
    assert "paused until `marquee release resume`" in capsys.readouterr().out
    assert main(["release", "show"]) == 0
    assert "paused until `marquee release resume`" in capsys.readouterr().out
    retrain = ["retrain", "--base", str(block_base), "--params", str(PARAMS_FILE)]
    assert main(retrain) == 3
    assert main([*retrain, "--force"]) == 0
    capsys.readouterr()
    assert main(["release", "resume"]) == 0
    assert "paused" not in capsys.readouterr().out
    assert not read_current_release(store)[0].paused
