"""``marquee reproduce`` where something is not as it was: what it says, and with which exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.synthetic_data import SECOND, blocks
from tests.training.runs import GOOD, PARAMS, PARAMS_FILE, run

from marquee.cli.main import main
from marquee.registry.manifest import Manifest, Provenance, encode_manifest, object_name, read_manifest
from marquee.registry.object_store.file_store import FileStore
from marquee.training import provenance
from marquee.training.reproduce import environment_differences

# As in production, but shorter; and the reference trainer.
BAYESIAN = {**PARAMS.trainers["bpmf"], "sweeps": 60}
TRAINERS = {
    "surprise_svd": GOOD,
    "bpmf": msgspec.structs.replace(
        PARAMS, trainer="bpmf", trainers={**PARAMS.trainers, "bpmf": BAYESIAN}
    ),
}


@pytest.fixture(scope="module", params=TRAINERS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is its own remote, with one released model."""
    place = tmp_path_factory.mktemp("reproduce")
    (place / "base").mkdir()
    ratings = blocks()
    table = ratings.rename(columns={"value": "rating"}).assign(time=ratings["time"] // SECOND)
    table.to_csv(place / "base/ratings.csv", index=False)
    store = FileStore(place / "objects")
    assert run(store, place / "base", 1000, TRAINERS[request.param], remote=store).outcome == "released"
    return place


@pytest.fixture
def store(place: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", (place / "objects").as_uri())
    monkeypatch.setenv("MARQUEE_DVC_REMOTE", (place / "objects").as_uri())
    monkeypatch.setenv("MARQUEE_COMMIT", "abc")
    return FileStore(place / "objects")


@pytest.fixture
def manifest(store: FileStore) -> Manifest:
    (name,) = (n for n in store.list("models/") if n.endswith("manifest.json") and n.count("/") == 2)
    return read_manifest(store, name.split("/")[1])


def rewritten(store: FileStore, manifest: Manifest, **changes: Any) -> None:
    """Let the manifest say something else than was the case."""
    name = object_name(manifest.version, "manifest.json")
    origin = msgspec.structs.replace(manifest.provenance, **changes)
    store.replace(name, encode_manifest(msgspec.structs.replace(manifest, provenance=origin)), store.get(name).version)


def reproduced(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["reproduce", manifest.version])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_same(manifest: Manifest, store: FileStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, every file the same, and nothing in the store has changed."""
    before = sorted(store.list(""))
    code, said = reproduced(manifest, capsys)
    assert (code, "differs" in said, said.count("  same  ")) == (0, False, len(manifest.files))
    assert sorted(store.list("")) == before


def test_another_model(manifest: Manifest, store: FileStore, capsys: pytest.CaptureFixture[str]) -> None:
    """With another seed another model comes out: exit code 3, and the files that differ are named."""
    rewritten(store, manifest, parameters={**manifest.provenance.parameters, "seed": 1})
    try:
        code, said = reproduced(manifest, capsys)
    finally:
        rewritten(store, manifest)
    assert code == 3
    assert "OTHER item_vectors.npy" in said
    assert "  same  movie_ids.json" in said
    assert f"{manifest.version}: NOT the same" in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"parameters": {"seed": 1}}, "a checkout of commit abc"),
        ({"snapshot": "ab" * 16 + ".dir"}, "is not in this remote"),
        ({"snapshot": ""}, "names no snapshot"),
    ],
)
def test_what_cannot_be_made_again(
    manifest: Manifest,
    store: FileStore,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    says: str,
) -> None:
    """Parameters of another program, a snapshot that is not kept: exit code 1 and what to do."""
    rewritten(store, manifest, **changes)
    try:
        code, said = reproduced(manifest, capsys)
    finally:
        rewritten(store, manifest)
    assert code == 1
    assert says in said


def test_where_the_snapshot_is(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``marquee lineage`` says whether the model could be made again."""
    shown = []
    for remote in (None, "", tmp_path.as_uri()):
        if remote is not None:
            monkeypatch.setenv("MARQUEE_DVC_REMOTE", remote)
        assert main(["lineage", manifest.version]) == 0
        shown.append(capsys.readouterr().out)
    assert ["(in the remote)" in said for said in shown] == [True, False, False]
    assert "MARQUEE_DVC_REMOTE is not set" in shown[1]
    assert "NOT in the remote" in shown[2]
    assert "release 1" in shown[0]


def test_a_version_that_is_not_there(store: FileStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands name it, and say where to look."""
    for verb in ("lineage", "reproduce"):
        assert main([verb, "20260101T000000-00000000"]) == 1
        assert "there is no artifact '20260101T000000-00000000'" in capsys.readouterr().err


def test_a_directory_that_is_not_empty(manifest: Manifest, place: Path) -> None:
    """Nothing of anybody's is written over."""
    assert main(["reproduce", manifest.version, "--into", str(place)]) == 1


def test_what_differs_is_said(manifest: Manifest) -> None:
    """Another library, another commit, changes that no commit holds: a line each; else none."""

    def of(**changes: Any) -> list[str]:
        origin: Provenance = msgspec.structs.replace(manifest.provenance, **changes)
        return environment_differences(msgspec.structs.replace(manifest, provenance=origin), "abc")

    assert of() == []
    here = provenance.libraries()
    assert of(libraries={**here, "numpy": "1.0", "gone": "2"}) == [
        "gone 2 is recorded, none is here",
        f"numpy 1.0 is recorded, {here['numpy']} is here",
    ]
    assert of(commit="def") == ["commit def is recorded, abc is here"]
    assert of(commit="abc-dirty") == [
        "commit abc-dirty is recorded, abc is here",
        "the working tree had changes that abc does not hold",
    ]
    assert of(commit="") == ["commit unknown is recorded, abc is here"]


def test_dvc_takes_its_snapshot_from_params(store: FileStore, capsys: pytest.CaptureFixture[str]) -> None:
    """With --pipeline a place or a time on the command line would be passed over: it is an error instead."""
    assert GOOD.snapshot.base
    command = ["retrain", "--pipeline", "--until", "2026-02-14T00:09Z", "--params", str(PARAMS_FILE)]
    assert main(command) == 1
    assert "what params.yaml says" in capsys.readouterr().err
