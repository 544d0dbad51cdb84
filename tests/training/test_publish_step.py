"""The step ``publish``: concurrent releases, kills at every write, damaged artifacts, refusals on record."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.dying_store import DyingStore
from tests.training.runs import GOOD, UNTRAINED, retrain_until, run_steps

from marquee.cli.main import main
from marquee.data import dvc_remote
from marquee.registry import release, rollout
from marquee.registry.artifact import verify_artifact
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import Content, ObjectStore, Version
from marquee.training.pipeline.publish_step import ServingChanged, release_instead_of
from marquee.training.retrain import retrain


class OvertakenStore(FileStore):
    """An object store in which another publisher promotes ``version`` just before release 2 is written."""

    version = ""

    def put_new(self, name: str, data: Content) -> Version:
        if name == "releases/2.json" and self.version:
            version, self.version = self.version, ""
            rollout.promote(self, version, author="another publisher")
        return super().put_new(name, data)


def test_publish_other_release_in_between_decides_again(tmp_path: Path, block_base: Path) -> None:
    """If what serves changes during the evaluation, the model is compared with what serves then."""
    store = OvertakenStore(tmp_path / "objects")
    retrain_until(store, block_base, 600)
    before = release.read_current_release(store)[0]
    other = retrain_until(store, block_base, 700, releasing=False)
    store.version = str(other.version)
    result = retrain_until(store, block_base, 1000)
    assert (result.outcome, result.serving) == ("released", other.version)
    assert release.read_current_release(store)[0].number == 3
    with pytest.raises(ServingChanged):
        release_instead_of(store, str(result.version), before, author="t", reason="")
    assert release.read_current_release(store)[0].number == 3


class Killed(BaseException):
    """End of the process; no program catches it."""


def test_retrain_killed_at_any_write_leaves_store_consistent(tmp_path: Path, block_base: Path) -> None:
    """After a kill at any write every artifact is complete, its snapshot is in the remote, and the next
    retraining releases the model as release 1."""
    run = run_steps(block_base, tmp_path / "run", 1000)
    unharmed = DyingStore(FileStore(tmp_path / "counted"))
    retrain(run.request, GOOD, unharmed, prepared=run.root, remote=unharmed, commit="abc")
    total = len(unharmed.names)
    assert total > 15
    for number in range(total):
        store = FileStore(tmp_path / f"killed-{number}")
        dying = DyingStore(store, max_writes=number, error=Killed())
        with pytest.raises(Killed):
            retrain(run.request, GOOD, dying, prepared=run.root, remote=dying, commit="abc")
        for name in store.list("models/"):
            if name.endswith("manifest.json"):
                manifest = verify_artifact(store, name.split("/")[1])
                assert dvc_remote.contains(store, manifest.provenance.snapshot)
        result = retrain(run.request, GOOD, store, prepared=run.root, remote=store, commit="abc")
        assert result.outcome == "released", result.reason
        assert release.read_current_release(store)[0].number == 1


class CorruptingStore(FileStore):
    """An object store that flips one bit of the movies' vectors."""

    def put_new(self, name: str, data: Content) -> Version:
        if name.endswith("item_vectors.npy") and isinstance(data, Path):
            content = bytearray(data.read_bytes())
            content[-1] ^= 1
            return super().put_new(name, bytes(content))
        return super().put_new(name, data)


def test_publish_corrupted_artifact_is_refused(tmp_path: Path, block_base: Path) -> None:
    """An artifact that differs from what was written is refused with the file's name, and nothing serves."""
    store = CorruptingStore(tmp_path / "objects")
    result = retrain_until(store, block_base, 1000)
    assert result.outcome == "refused"
    assert "item_vectors.npy" in result.reason
    assert "hash" in result.reason
    assert list(store.list("releases/")) == []


def test_publish_verifies_artifact_once(
    store: ObjectStore, block_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A released artifact is read and verified a single time."""
    versions: list[str] = []

    def counting_verify(store: ObjectStore, version: str) -> object:
        versions.append(version)
        return verify_artifact(store, version)

    monkeypatch.setattr("marquee.training.release_policy.verify_artifact", counting_verify)
    monkeypatch.setattr("marquee.registry.rollout.verify_artifact", counting_verify)
    result = retrain_until(store, block_base, 1000)
    assert (result.outcome, versions) == ("released", [result.version])


def test_publish_refused_model_is_listed_with_reason(
    store: ObjectStore,
    block_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``marquee release list`` and ``marquee lineage`` show a refused artifact with its reason."""
    retrain_until(store, block_base, 600)
    refused = retrain_until(store, block_base, 1000, UNTRAINED)
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", (tmp_path / "objects").as_uri())
    assert main(["release", "list"]) == 0
    assert f"refused {refused.version}" in capsys.readouterr().out
    assert main(["lineage", str(refused.version)]) == 0
    output = capsys.readouterr().out
    assert "in no release" in output
    assert refused.reason in output
