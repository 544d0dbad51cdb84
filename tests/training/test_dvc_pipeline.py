"""The pipeline under DVC itself, in a repository of its own, and a model made again from the remote."""

from __future__ import annotations

import ast
import hashlib
import json
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

from marquee.data import dvc_hash, dvc_remote
from marquee.models.ranker_port import RANKERS
from marquee.models.trainer_port import TRAINERS
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.params import Params
from marquee.training.pipeline import pipeline_run, steps

ROOT = Path(__file__).parents[2]
# Whose effect is in the values of params.yaml, or in what the step before left.
OF_OTHER_STEPS = ("marquee.training.params", "marquee.data.side_information", "marquee.errors")
BASE = "data/movielens-100k"

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Checkout:
    """A repository with the library and the pipeline, and its own environment."""

    path: Path

    def run(self, *words: str, code: int = 0) -> str:
        """A command in the checkout; returns what it said."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MARQUEE_", "GIT_"))}
        environment |= {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(self.path / "shared"),
            "MARQUEE_OBJECTS_URL": (self.path.parent / "objects").as_uri(),
            "MARQUEE_DVC_REMOTE": (self.path.parent / "remote").as_uri(),
            "DVC_SITE_CACHE_DIR": str(self.path.parent / "site"),
            "HOME": str(self.path.parent),
        }
        done = subprocess.run(words, cwd=self.path, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.edu", "-c", "init.defaultBranch=main")
        return self.run("git", *identity, *words)

    def lock(self) -> dict[str, Any]:
        """``dvc.lock``: stage -> what went in and came out."""
        stages: dict[str, Any] = msgspec.yaml.decode((self.path / "dvc.lock").read_bytes())["stages"]
        return stages


def hashes(stage: dict[str, Any], part: str) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in stage.get(part, ())}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The committed pipeline on small base data, reproduced once, then retrained and released through DVC."""
    path = tmp_path_factory.mktemp("pipeline") / "checkout"
    for name in ("shared", ".dvc", "params.yaml", "dvc.yaml", ".gitignore", ".dvcignore"):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
            shutil.copytree(source, path / name, ignore=ignored)
        else:
            shutil.copy(source, path / name)
    # MovieLens comes from a registry; here the base data are a file of the repository.
    pipeline = re.sub(r"  fetch:\n(    .*\n)+", "", (path / "dvc.yaml").read_text())
    (path / "dvc.yaml").write_text(pipeline)
    trainer = re.sub(r"(?m)^trainer: .*$", "trainer: surprise_svd", (path / "params.yaml").read_text())
    (path / "params.yaml").write_text(trainer)
    write_base(path / BASE)
    made = Checkout(path)
    made.git("init", "--quiet")
    made.git("add", ".")
    made.git("add", "--force", BASE)
    made.git("commit", "--quiet", "-m", "all")
    made.run("marquee", "retrain", "--pipeline", "--reason", "through DVC")
    return made


def write_base(directory: Path) -> None:
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
    """Of the one model that was released."""
    (name,) = (name for name in store.list("models/") if name.endswith("manifest.json"))
    return read_manifest(store, name.split("/")[1])


def test_a_second_time_nothing_is_done(checkout: Checkout) -> None:
    """``dvc repro`` finds every step up to date after `marquee retrain --pipeline`, but the last, which
    goes to a store of its own there; and after that all of them."""
    checkout.run("dvc", "repro", "--quiet")
    before = (checkout.path / "dvc.lock").read_bytes()
    said = checkout.run("dvc", "repro")
    assert "Running stage" not in said
    assert said.count("didn't change, skipping") == len(steps.STEPS) + 1
    assert (checkout.path / "dvc.lock").read_bytes() == before


def test_the_manifest_has_the_hashes_of_dvc(checkout: Checkout, manifest: Manifest) -> None:
    """What the manifest says of each step is what dvc.lock says, file for file."""
    lock = checkout.lock()
    for name, stage in manifest.provenance.stages.items():
        assert stage.outs == hashes(lock[name], "outs")
        assert stage.deps.items() <= hashes(lock[name], "deps").items()
    assert manifest.provenance.snapshot == hashes(lock["snapshot"], "outs")[pipeline_run.SNAPSHOT]
    assert set(manifest.groups) == {"gender", "age", "activity"}


def test_in_one_process_and_under_dvc_the_model_is_the_same(checkout: Checkout, manifest: Manifest) -> None:
    """`marquee retrain` of the same data, without DVC: the same version."""
    said = checkout.run("marquee", "retrain", "--base", BASE, "--no-database", "--no-release")
    assert f"{manifest.version}: trained" in said


def test_made_again_in_a_fresh_checkout(checkout: Checkout, manifest: Manifest, tmp_path: Path) -> None:
    """Workspace and cache are gone; from the commit, the manifest and the remote comes the same model, bit
    for bit, and nothing differs. With a change in the tree the difference is named."""
    shutil.rmtree(checkout.path / ".dvc/cache")
    shutil.rmtree(checkout.path / "data/pipeline")
    fresh = Checkout(checkout.path.parent / "fresh")
    checkout.git("clone", "--quiet", str(checkout.path), str(fresh.path))
    shutil.rmtree(fresh.path / BASE)
    said = fresh.run("marquee", "reproduce", manifest.version)
    assert f"{manifest.version}: the same, bit for bit" in said
    assert "OTHER" not in said
    assert "differs" not in said
    with (fresh.path / "params.yaml").open("a") as file:
        file.write("# changed\n")
    said = fresh.run("marquee", "reproduce", manifest.version)
    assert "differs: commit" in said
    assert f"{manifest.version}: the same, bit for bit" in said


def test_dvc_finds_what_the_job_kept(checkout: Checkout, manifest: Manifest, tmp_path: Path) -> None:
    """The snapshot that `marquee retrain` put into the remote is fetched by DVC proper, and the other way."""
    kept = connect((checkout.path.parent / "remote").as_uri())
    assert dvc_remote.contains(kept, manifest.provenance.snapshot)
    checkout.run("dvc", "remote", "add", "--local", "--default", "--force", "kept", str(tmp_path.parent))
    checkout.run("dvc", "remote", "modify", "--local", "kept", "url", str(checkout.path.parent / "remote"))
    shutil.rmtree(checkout.path / ".dvc/cache", ignore_errors=True)
    shutil.rmtree(checkout.path / pipeline_run.SNAPSHOT, ignore_errors=True)
    checkout.run("dvc", "pull", pipeline_run.SNAPSHOT)
    assert dvc_hash.hash_path(checkout.path / pipeline_run.SNAPSHOT) == manifest.provenance.snapshot
    pushed = tmp_path / "pushed"
    checkout.run("dvc", "remote", "modify", "--local", "kept", "url", str(pushed))
    checkout.run("dvc", "push", pipeline_run.SNAPSHOT)
    dvc_remote.fetch(connect(pushed.as_uri()), manifest.provenance.snapshot, tmp_path / "again")
    assert dvc_hash.hash_path(tmp_path / "again") == manifest.provenance.snapshot


def test_dvc_yaml_says_what_the_steps_say() -> None:
    """Each step of the program is a stage with the same inputs and outputs, and every parameter is named."""
    stages = msgspec.yaml.decode((ROOT / "dvc.yaml").read_bytes())["stages"]
    params = msgspec.yaml.decode((ROOT / "params.yaml").read_bytes())
    assert list(stages) == ["fetch", *steps.STEPS, "publish"]
    for name, step in steps.STEPS.items():
        assert set(step.reads) == {d for d in stages[name]["deps"] if d.startswith(("data/pip", "reports"))}
        outs = [*stages[name].get("outs", ()), *stages[name].get("metrics", ())]
        assert set(step.writes) == {next(iter(out)) if isinstance(out, dict) else out for out in outs}
    used = {str(p).split(".")[0] for stage in stages.values() for p in stage["params"]}
    assert used == set(params) == set(Params.__struct_fields__)
    files = [dep for stage in stages.values() for dep in stage["deps"] if dep.startswith("shared")]
    assert not [dep for dep in files if not (ROOT / dep).exists()]


def test_a_change_of_the_trainers_is_noticed() -> None:
    """Every module that has a say in training is a dependency of the stage, or those of earlier steps are."""
    deps = msgspec.yaml.decode((ROOT / "dvc.yaml").read_bytes())["stages"]["train"]["deps"]
    named = {name for name in deps if name.startswith("shared")}
    roots = ["marquee.training.train_model", *TRAINERS.values(), *RANKERS.values()]
    missing = {
        path
        for path in imported(roots, but=OF_OTHER_STEPS)
        if path not in named and not any(path.startswith(f"{name}/") for name in named)
    }
    assert missing == set()


def test_what_is_committed_was_made_by_what_is_committed() -> None:
    """dvc.lock and the reports are those of this program and these parameters, as `dvc status` would say: but for
    the data, which are not committed. After a change: `dvc repro`, and commit what it wrote."""
    stages = msgspec.yaml.decode((ROOT / "dvc.lock").read_bytes())["stages"]
    declared = msgspec.yaml.decode((ROOT / "dvc.yaml").read_bytes())["stages"]
    params = msgspec.yaml.decode((ROOT / "params.yaml").read_bytes())
    assert stages.keys() == declared.keys()
    stale = []
    for name, stage in stages.items():
        committed = {
            e["path"]: e["md5"] for e in (*stage["deps"], *stage["outs"]) if not e["path"].startswith("data")
        }
        stale += [f"{name}: {path}" for path, md5 in committed.items() if committed_hash(ROOT / path) != md5]
        assert {e["path"] for e in stage["deps"]} >= {
            d for d in declared[name]["deps"] if d.startswith("shared")
        }
        for key, value in stage["params"]["params.yaml"].items():
            if value != reduce(lambda section, part: section[part], key.split("."), params):
                stale.append(f"{name}: {key} of params.yaml")
    assert not stale, "run `dvc repro` and commit dvc.lock and reports/: " + ", ".join(stale)


def committed_hash(path: Path) -> str:
    """As DVC has it, of a file or of the modules of a package."""
    if path.is_file():
        return dvc_hash.hash_file(path)
    files = sorted(path.rglob("*.py"))
    entries = [{"md5": dvc_hash.hash_file(f), "relpath": f.relative_to(path).as_posix()} for f in files]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"


def imported(modules: list[str], but: tuple[str, ...]) -> set[str]:
    """The files of the library that ``modules`` are made of, as far as imports lead."""
    waiting, found = list(modules), set()
    while waiting:
        module = waiting.pop()
        path = Path("shared", *module.split(".")).with_suffix(".py")
        if module in but or str(path) in found or not (ROOT / path).exists():
            continue
        found.add(str(path))
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("marquee"):
                waiting += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return found
