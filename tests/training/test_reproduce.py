"""``marquee reproduce`` and ``marquee lineage``: output and exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.training.runs import GOOD, PARAMS, PARAMS_FILE, retrain_until, write_block_ratings

from marquee.cli.main import main
from marquee.registry.manifest import Manifest, Provenance, encode_manifest, object_name, read_manifest
from marquee.registry.object_store.file_store import FileStore
from marquee.training import provenance
from marquee.training.reproduce import environment_differences

# The trainer in production with fewer sweeps, and the reference trainer.
BPMF = {**PARAMS.trainers["bpmf"], "sweeps": 60}
TRAINERS = {
    "surprise_svd": GOOD,
    "bpmf": msgspec.structs.replace(PARAMS, trainer="bpmf", trainers={**PARAMS.trainers, "bayesian_svd": BPMF}),
}


@pytest.fixture(scope="module", params=TRAINERS)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an object store that is its own DVC remote, with one released model."""
    directory = tmp_path_factory.mktemp("reproduce")
    base = write_block_ratings(directory / "base")
    store = FileStore(directory / "objects")
    result = retrain_until(store, base, 1000, TRAINERS[request.param], remote=store)
    assert result.outcome == "released"
    return directory


@pytest.fixture
def store(directory: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", (directory / "objects").as_uri())
    monkeypatch.setenv("MARQUEE_DVC_REMOTE", (directory / "objects").as_uri())
    monkeypatch.setenv("MARQUEE_COMMIT", "abc")
    return FileStore(directory / "objects")


@pytest.fixture
def manifest(store: FileStore) -> Manifest:
    (name,) = (n for n in store.list("models/") if n.endswith("manifest.json") and n.count("/") == 2)
    return read_manifest(store, name.split("/")[1])


def rewrite_provenance(store: FileStore, manifest: Manifest, **changes: Any) -> None:
    """Store the manifest with ``changes`` of its provenance."""
    name = object_name(manifest.version, "manifest.json")
    origin = msgspec.structs.replace(manifest.provenance, **changes)
    store.replace(name, encode_manifest(msgspec.structs.replace(manifest, provenance=origin)), store.get(name).version)


def reproduce(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run ``marquee reproduce``; return its exit code and output."""
    code = main(["reproduce", manifest.version])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_reproduce_unchanged_environment_gives_identical_files(
    manifest: Manifest, store: FileStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 0, every file is identical, and nothing in the store has changed."""
    before = sorted(store.list(""))
    code, output = reproduce(manifest, capsys)
    assert (code, "differs" in output, output.count("  identical ")) == (0, False, len(manifest.files))
    assert sorted(store.list("")) == before


def test_reproduce_other_seed_reports_different_files(
    manifest: Manifest, store: FileStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """With another seed the model differs: exit code 3, and the different files are named."""
    rewrite_provenance(store, manifest, parameters={**manifest.provenance.parameters, "seed": 1})
    try:
        code, output = reproduce(manifest, capsys)
    finally:
        rewrite_provenance(store, manifest)
    assert code == 3
    assert "DIFFERENT item_vectors.npy" in output
    assert "  identical movie_ids.json" in output
    assert f"{manifest.version}: DIFFERENT" in output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": {"seed": 1}}, "a checkout of commit abc"),
        ({"snapshot": "ab" * 16 + ".dir"}, "is not in this remote"),
        ({"snapshot": ""}, "names no snapshot"),
    ],
)
def test_reproduce_missing_input_fails_with_advice(
    manifest: Manifest,
    store: FileStore,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    """Parameters of another program or a missing snapshot: exit code 1 and a message with advice."""
    rewrite_provenance(store, manifest, **changes)
    try:
        code, output = reproduce(manifest, capsys)
    finally:
        rewrite_provenance(store, manifest)
    assert code == 1
    assert message in output


def test_lineage_shows_if_snapshot_is_in_remote(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``marquee lineage`` shows if the snapshot is in the remote, so that the model can be reproduced.

    Without a version it shows the model that serves.
    """
    outputs = []
    for remote in (None, "", tmp_path.as_uri()):
        if remote is not None:
            monkeypatch.setenv("MARQUEE_DVC_REMOTE", remote)
        assert main(["lineage", manifest.version]) == 0
        outputs.append(capsys.readouterr().out)
    assert ["(in the remote)" in output for output in outputs] == [True, False, False]
    assert "MARQUEE_DVC_REMOTE is not set" in outputs[1]
    assert "NOT in the remote" in outputs[2]
    assert "release 1" in outputs[0]
    assert main(["lineage"]) == 0
    assert capsys.readouterr().out == outputs[2]


def test_lineage_and_reproduce_unknown_version_fail(store: FileStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands exit with 1 and name the version."""
    for verb in ("lineage", "reproduce"):
        assert main([verb, "20260101T000000-00000000"]) == 1
        assert "there is no artifact '20260101T000000-00000000'" in capsys.readouterr().err


def test_reproduce_into_directory_with_files_fails(manifest: Manifest, directory: Path) -> None:
    """Existing files are not overwritten."""
    assert main(["reproduce", manifest.version, "--into", str(directory)]) == 1


def test_environment_differences_lists_each_difference(manifest: Manifest) -> None:
    """Another library, another commit and uncommitted changes are a sentence each; otherwise none."""

    def differences(**changes: Any) -> list[str]:
        origin: Provenance = msgspec.structs.replace(manifest.provenance, **changes)
        return environment_differences(msgspec.structs.replace(manifest, provenance=origin), "abc")

    assert differences() == []
    here = provenance.library_versions()
    assert differences(libraries={**here, "numpy": "1.0", "gone": "2"}) == [
        "gone 2 is recorded, none is installed",
        f"numpy 1.0 is recorded, {here['numpy']} is installed",
    ]
    assert differences(commit="def") == ["commit def is recorded, abc is here"]
    assert differences(commit="abc-dirty") == [
        "commit abc-dirty is recorded, abc is here",
        "the recorded working tree had changes that are not in abc",
    ]
    assert differences(commit="") == ["commit unknown is recorded, abc is here"]


def test_retrain_pipeline_with_snapshot_option_fails(store: FileStore, capsys: pytest.CaptureFixture[str]) -> None:
    """With --pipeline an option of the snapshot is an error, because it would be ignored."""
    assert GOOD.snapshot.base
    command = ["retrain", "--pipeline", "--until", "2026-02-14T00:09Z", "--params", str(PARAMS_FILE)]
    assert main(command) == 1
    assert "the snapshot section of params.yaml" in capsys.readouterr().err
