"""The pipeline under DVC in a repository of its own, reproduction from the remote, the committed dvc.lock."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.synthetic_data import SECOND, blocks

from marquee.data import dvc_remote
from marquee.models.trainer_port import no_progress
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.params import Params
from marquee.training.pipeline import code_fingerprint
from marquee.training.pipeline.pipeline_run import SNAPSHOT, PipelineRun
from marquee.training.pipeline.steps import STEPS

ROOT = Path(__file__).parents[2]
BASE = "data/movielens-100k"

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Checkout:
    """A repository with the library and the pipeline, and an environment of its own."""

    path: Path

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command in the checkout; return its output and error output."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MARQUEE_", "GIT_"))}
        environment |= {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(self.path / "shared"),
            "MARQUEE_OBJECTS_URL": (self.path.parent / "objects").as_uri(),
            "MARQUEE_DVC_REMOTE": (self.path.parent / "remote").as_uri(),
            "DVC_SITE_CACHE_DIR": str(self.path.parent / "site"),
            "HOME": str(self.path.parent),
        }
        completed = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)
        assert completed.returncode == code, completed.stdout + completed.stderr
        return completed.stdout + completed.stderr

    def git(self, *arguments: str) -> str:
        """Run a git command with an identity."""
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.edu", "-c", "init.defaultBranch=main")
        return self.run("git", *identity, *arguments)

    def lock(self) -> dict[str, Any]:
        """Return the stages of ``dvc.lock``."""
        stages: dict[str, Any] = read_yaml(self.path / "dvc.lock")["stages"]
        return stages


def read_yaml(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.yaml.decode(path.read_bytes())
    return document


def locked_hashes(stage: dict[str, Any], part: str) -> dict[str, str]:
    """Return the hashes of a stage's ``deps`` or ``outs`` in dvc.lock, by path."""
    return {entry["path"]: entry["md5"] for entry in stage.get(part, ())}


def declared_outs(stage: dict[str, Any]) -> set[str]:
    """Return the paths of a stage's outputs and metrics in dvc.yaml."""
    outs = [*stage.get("outs", ()), *stage.get("metrics", ())]
    return {next(iter(out)) if isinstance(out, dict) else out for out in outs}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The committed pipeline on small base data, after one ``marquee retrain --pipeline``."""
    path = tmp_path_factory.mktemp("pipeline") / "checkout"
    for name in ("shared", ".dvc", "params.yaml", "dvc.yaml", ".gitignore", ".dvcignore"):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
            shutil.copytree(source, path / name, ignore=ignored)
        else:
            shutil.copy(source, path / name)
    # The base data are files of the repository here, not of a package registry.
    pipeline = re.sub(r"  fetch:\n(    .*\n)+", "", (path / "dvc.yaml").read_text())
    (path / "dvc.yaml").write_text(pipeline)
    trainer = re.sub(r"(?m)^trainer: .*$", "trainer: surprise_svd", (path / "params.yaml").read_text())
    (path / "params.yaml").write_text(trainer)
    write_base_data(path / BASE)
    repository = Checkout(path)
    repository.git("init", "--quiet")
    repository.git("add", ".")
    repository.git("add", "--force", BASE)
    repository.git("commit", "--quiet", "-m", "all")
    repository.run("marquee", "retrain", "--pipeline", "--reason", "through DVC")
    return repository


def write_base_data(directory: Path) -> None:
    """Write ratings of 60 users, with their side information and that of the movies."""
    directory.mkdir(parents=True)
    ratings = blocks(users=15)
    table = ratings.rename(columns={"value": "rating"}).assign(time=ratings["time"] // SECOND)
    table.to_csv(directory / "ratings.csv", index=False)
    users = sorted(set(ratings["user_id"]))
    rows = [f"{user},{18 + n},{'FM'[n % 2]},artist,90210" for n, user in enumerate(users)]
    (directory / "users.csv").write_text("\n".join(["user_id,age,gender,occupation,zip", *rows]) + "\n")
    movies = sorted(set(ratings["movie_id"]))
    rows = [f"{movie},{movie},1990,Comedy|Drama" for movie in movies]
    (directory / "movies.csv").write_text("\n".join(["movie_id,title,year,genres", *rows]) + "\n")


@pytest.fixture(scope="module")
def store(checkout: Checkout) -> ObjectStore:
    return connect((checkout.path.parent / "objects").as_uri())


@pytest.fixture(scope="module")
def manifest(checkout: Checkout, store: ObjectStore) -> Manifest:
    """The manifest of the released model."""
    (name,) = (name for name in store.list("models/") if name.endswith("manifest.json"))
    return read_manifest(store, name.split("/")[1])


def test_dvc_repro_unchanged_runs_only_code(checkout: Checkout) -> None:
    """``dvc repro`` after ``marquee retrain --pipeline`` runs ``publish``; a second one runs ``code`` alone."""
    checkout.run("dvc", "repro", "--quiet")
    before = (checkout.path / "dvc.lock").read_bytes()
    output = checkout.run("dvc", "repro")
    assert re.findall(r"Running stage '(\w+)'", output) == ["code"]
    assert output.count("didn't change, skipping") == len(STEPS) + 1
    assert (checkout.path / "dvc.lock").read_bytes() == before


def test_dvc_repro_changed_docstring_runs_only_code(checkout: Checkout) -> None:
    """A changed docstring in a module of the training makes no stage stale, a changed statement some."""
    path = checkout.path / "shared/marquee/models/ease.py"
    source = path.read_text()
    checkout.run("dvc", "repro", "--quiet")
    try:
        path.write_text(source.replace('"""', '"""Reworded. ', 1) + "\n# A comment.\n")
        output = checkout.run("dvc", "repro")
        assert re.findall(r"Running stage '(\w+)'", output) == ["code"]
        path.write_text(source + "\n_ADDED = 1\n")
        checkout.run("marquee", "pipeline", "code")
        output = checkout.run("dvc", "repro", "--dry")
        assert set(re.findall(r"Running stage '(\w+)'", output)) >= {"code", "train"}
        assert not {"snapshot", "check", "features"} & set(re.findall(r"Running stage '(\w+)'", output))
    finally:
        path.write_text(source)


def test_manifest_has_the_hashes_of_dvc_lock(checkout: Checkout, manifest: Manifest) -> None:
    """The manifest records the same hashes of each step's files as dvc.lock."""
    lock = checkout.lock()
    for name, stage in manifest.provenance.stages.items():
        assert stage.outs == locked_hashes(lock[name], "outs")
        assert stage.deps.items() <= locked_hashes(lock[name], "deps").items()
    assert manifest.provenance.snapshot == locked_hashes(lock["snapshot"], "outs")[SNAPSHOT]
    assert set(manifest.groups) == {"gender", "age", "activity"}


def test_retrain_without_dvc_gives_same_version(checkout: Checkout, manifest: Manifest) -> None:
    """`marquee retrain` on the same data, without DVC, trains the same version."""
    output = checkout.run("marquee", "retrain", "--base", BASE, "--no-database", "--no-release")
    assert f"{manifest.version}: trained" in output


def test_reproduce_fresh_checkout_is_identical(checkout: Checkout, manifest: Manifest, tmp_path: Path) -> None:
    """Without workspace and cache the commit, the manifest and the remote give the same model, bit for bit.

    A change in the working tree is named as a difference of the environment.
    """
    shutil.rmtree(checkout.path / ".dvc/cache")
    shutil.rmtree(checkout.path / "data/pipeline")
    fresh = Checkout(checkout.path.parent / "fresh")
    checkout.git("clone", "--quiet", str(checkout.path), str(fresh.path))
    shutil.rmtree(fresh.path / BASE)
    output = fresh.run("marquee", "reproduce", manifest.version)
    assert f"{manifest.version}: identical, bit for bit" in output
    assert "DIFFERENT" not in output
    assert "differs" not in output
    with (fresh.path / "params.yaml").open("a") as file:
        file.write("# changed\n")
    output = fresh.run("marquee", "reproduce", manifest.version)
    assert "differs: commit" in output
    assert f"{manifest.version}: identical, bit for bit" in output


def test_dvc_pull_finds_snapshot_of_retrain(checkout: Checkout, manifest: Manifest, tmp_path: Path) -> None:
    """DVC pulls the snapshot that ``marquee retrain`` pushed, and our own client fetches what DVC pushed."""
    remote = connect((checkout.path.parent / "remote").as_uri())
    assert dvc_remote.contains(remote, manifest.provenance.snapshot)
    checkout.run("dvc", "remote", "add", "--local", "--default", "--force", "snapshots", str(tmp_path.parent))
    checkout.run("dvc", "remote", "modify", "--local", "snapshots", "url", str(checkout.path.parent / "remote"))
    shutil.rmtree(checkout.path / ".dvc/cache", ignore_errors=True)
    shutil.rmtree(checkout.path / SNAPSHOT, ignore_errors=True)
    checkout.run("dvc", "pull", SNAPSHOT)
    assert dvc_remote.hash_path(checkout.path / SNAPSHOT) == manifest.provenance.snapshot
    pushed = tmp_path / "pushed"
    checkout.run("dvc", "remote", "modify", "--local", "snapshots", "url", str(pushed))
    checkout.run("dvc", "push", SNAPSHOT)
    dvc_remote.fetch(connect(pushed.as_uri()), manifest.provenance.snapshot, tmp_path / "fetched")
    assert dvc_remote.hash_path(tmp_path / "fetched") == manifest.provenance.snapshot


def test_dvc_yaml_stages_agree_with_steps() -> None:
    """Each stage has the inputs and outputs of its step, and depends on a fingerprint instead of code files."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    assert list(stages) == ["code", "fetch", *STEPS, "publish"]
    fingerprints = {name: f"{code_fingerprint.DIRECTORY}/{name}.json" for name in list(stages)[1:]}
    assert declared_outs(stages["code"]) == set(fingerprints.values())
    assert stages["code"]["always_changed"]
    for name, fingerprint in fingerprints.items():
        assert fingerprint in stages[name]["deps"]
        assert not [dep for dep in stages[name]["deps"] if dep.endswith(".py")]
    for name, step in STEPS.items():
        inputs = {dep for dep in stages[name]["deps"] if dep.startswith(("data/pipeline", "reports"))}
        assert inputs == {*step.reads, fingerprints[name]}
        assert declared_outs(stages[name]) == set(step.writes)


class RecordingParams:
    """Parameters that record the names of the sections that are read."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self.names: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(Params, name, None)
        if isinstance(attribute, property):
            return attribute.__get__(self)
        self.names.add(name)
        return getattr(self._params, name)


def test_dvc_yaml_params_are_those_that_steps_read(tmp_path: Path) -> None:
    """Each stage names the sections of params.yaml that its step reads; every section is in some stage."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    declared = {name: {param.split(".")[0] for param in stage.get("params", ())} for name, stage in stages.items()}
    params = Params.read(ROOT / "params.yaml")
    write_base_data(tmp_path / BASE)
    for name, step in STEPS.items():
        recording: Any = RecordingParams(params)
        request = msgspec.structs.replace(params.snapshot, base=str(tmp_path / BASE)).to_request()
        step.run(PipelineRun(tmp_path, recording, request, no_progress))
        # The command makes the request of ``snapshot`` from its section; the step gets no other parameter.
        assert recording.names | ({"snapshot"} if name == "snapshot" else set()) == declared[name]
    # A pipeline on Spark is no pipeline of DVC.
    assert set.union(*declared.values()) == set(Params.__struct_fields__) - {"engine", "spark"}


def test_dvc_lock_is_that_of_the_committed_code_and_parameters() -> None:
    """dvc.lock has the hashes of the present code, parameters and reports; the data are not committed."""
    lock, stages = read_yaml(ROOT / "dvc.lock")["stages"], read_yaml(ROOT / "dvc.yaml")["stages"]
    params = read_yaml(ROOT / "params.yaml")
    expected = {
        f"{code_fingerprint.DIRECTORY}/{step}.json": hashlib.md5(
            code_fingerprint.encode_fingerprint(fingerprint)
        ).hexdigest()
        for step, fingerprint in code_fingerprint.fingerprint_steps().items()
    }
    assert lock.keys() == stages.keys()
    stale = []
    for name, stage in lock.items():
        hashes = locked_hashes(stage, "deps") | locked_hashes(stage, "outs")
        declared = {re.sub(r"^\$\{snapshot\.base\}$", BASE, dep) for dep in stages[name].get("deps", ())}
        assert hashes.keys() == declared | declared_outs(stages[name])
        for path, md5 in hashes.items():
            if not path.startswith("data/"):
                expected[path] = dvc_remote.hash_file(ROOT / path)
            if md5 != expected.setdefault(path, md5):
                stale.append(f"{name}: {path}")
        for key, value in stage.get("params", {}).get("params.yaml", {}).items():
            if value != reduce(lambda section, part: section.get(part, {}), key.split("."), params):
                stale.append(f"{name}: {key} of params.yaml")
    assert not stale, "run `dvc repro` and commit dvc.lock and reports/: " + ", ".join(stale)
