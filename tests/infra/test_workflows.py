"""GitHub's workflows: permissions, pins and the files they call; `make infra-check` runs zizmor and actionlint."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from marquee.local.infra_spec import read_schedules

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
TERRAFORM = (ROOT / "infra/terraform/outputs.tf").read_text()
GRADLE_WRAPPER = "55243ef57851f12b070ad14f7f5bb8302daceeebc5bce5ece5fa6edb23e1145c"
"""SHA-256 of gradle-wrapper.jar, as Gradle publishes it for version 9.4.1."""
workflow = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    return found


@workflow
def test_workflow_permissions_are_stated_by_job(path: Path) -> None:
    """Each job states its permissions and has a timeout."""
    assert read(path)["permissions"] == {}
    for job in read(path)["jobs"].values():
        assert job["permissions"]
        assert int(job["timeout-minutes"]) <= 60


@workflow
def test_workflow_actions_are_pinned_by_commit(path: Path) -> None:
    """The comment has the version; all workflows use the same one."""
    lines = re.findall(r"uses: (.*)", path.read_text())
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in lines)
    everywhere = {line for file in FILES for line in re.findall(r"uses: (.*)", file.read_text())}
    assert len(everywhere) == len({line.split("@")[0] for line in everywhere})


@workflow
def test_workflow_targets_and_files_exist(path: Path) -> None:
    """Make targets, requirement lists and modules of the steps exist."""
    text, makefile = path.read_text(), (ROOT / "Makefile").read_text()
    for words in re.findall(r"run: make (.*)", text):
        assert all(re.search(rf"^{re.escape(word)}:", makefile, re.M) for word in words.split())
    for file in re.findall(r"requirements/[\w.-]+\.txt", text):
        assert (ROOT / file).is_file()
    for module in re.findall(r"-m (infra(?:\.\w+)+)", text):
        file_or_folder = ROOT / module.replace(".", "/")
        assert file_or_folder.with_suffix(".py").is_file() or (file_or_folder / "__main__.py").is_file()


def test_workflows_build_the_android_package_with_a_pinned_gradle() -> None:
    """The wrapper checks the distribution's hash; the wrapper itself is Gradle's of that version, and no other runs."""
    wrapper = ROOT / "android/gradle/wrapper"
    pinned = dict(line.split("=") for line in (wrapper / "gradle-wrapper.properties").read_text().splitlines())
    assert pinned["distributionUrl"].endswith("/gradle-9.4.1-bin.zip")
    assert re.fullmatch("[0-9a-f]{64}", pinned["distributionSha256Sum"])
    assert hashlib.sha256((wrapper / "gradle-wrapper.jar").read_bytes()).hexdigest() == GRADLE_WRAPPER
    commands = [line for path in FILES for line in re.findall(r"\S*gradlew? --.*", path.read_text())]
    assert len(commands) == 4
    assert all(command.startswith("android/gradlew ") for command in commands)
    assert (ROOT / "android/gradlew").stat().st_mode & 0o111


@workflow
def test_workflow_has_no_keys(path: Path) -> None:
    """Google identifies a workflow; only reviewed environments have secrets."""
    text = path.read_text()
    assert "credentials_json" not in text
    for job in read(path)["jobs"].values():
        if "{{ secrets." in json.dumps(job):
            assert (path.stem, job["environment"]) in {
                ("apply", "production"),
                ("android-release", "android-release"),
                ("apply", "plan"),
                ("plan", "plan"),
            }
    for action in re.findall(r"(?s)google-github-actions/auth@.*?(?=\n      - |\Z)", text):
        assert "workload_identity_provider" in action


def test_workflow_variables_are_terraform_outputs() -> None:
    """`terraform output github` has each variable except TFVARS and the site of the Android package."""
    names = {name for path in FILES for name in re.findall(r"vars\.(\w+)", path.read_text())}
    assert names - {"TFVARS", "APP_ORIGIN"} <= set(re.findall(r"^\s+([A-Z_]+)\s+=", TERRAFORM, re.M))


def test_apply_workflow_is_manual() -> None:
    """It starts by hand, from main, in the environment that requires approval."""
    apply = read(ROOT / ".github/workflows/apply.yml")
    assert set(apply["on"]) == {"workflow_dispatch"}
    assert apply["jobs"]["apply"]["environment"] == "production"
    assert "refs/heads/main" in apply["jobs"]["apply"]["if"]


def test_apply_workflow_shows_plan_before_approval() -> None:
    """The plan needs no approval of the environment `production` and comes first; its account can only read."""
    jobs = read(ROOT / ".github/workflows/apply.yml")["jobs"]
    assert jobs["apply"]["needs"] == "plan"
    assert jobs["plan"]["environment"] == "plan"
    text = json.dumps(jobs["plan"])
    assert "GOOGLE_PLAN_ACCOUNT" in text
    assert "GITHUB_STEP_SUMMARY" in text
    assert "terraform apply" not in text


def test_images_workflow_builds_and_starts_every_image_on_pull_requests() -> None:
    """Every job's image shows its help, Compose starts the others until they are healthy, and nothing is pushed."""
    images = read(ROOT / ".github/workflows/images.yml")
    assert "pull_request" in images["on"]
    matrix = images["jobs"]["jobs"]["strategy"]["matrix"]["job"]
    assert matrix == sorted(path.parent.name for path in ROOT.glob("jobs/*/main.py"))
    commands = [step.get("run", "") for job in images["jobs"].values() for step in job["steps"]]
    assert any("docker build" in text and re.search(r"docker run .* --help", text) for text in commands)
    assert any("docker compose up" in text and "--wait" in text for text in commands)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    built = {s["build"]["args"].get("FUNCTION") for s in compose if "build" in s}
    assert built >= {path.parent.name for path in ROOT.glob("functions/*/main.py")}
    assert not [text for text in commands if "push" in text or "login" in text]


def test_dependencies_workflow_audits_every_list() -> None:
    """The lists are those of the directory, not names written down once."""
    audit = read(ROOT / ".github/workflows/dependencies.yml")["jobs"]["audit"]
    (command,) = [step["run"] for step in audit["steps"] if "pip-audit" in step.get("run", "")]
    assert "for list in requirements/*.txt" in command


def test_build_workflow_builds_every_image() -> None:
    """The images are those that Terraform deploys."""
    build = read(ROOT / ".github/workflows/build.yml")
    jobs = {Path(s.job).name for s in read_schedules(ROOT).values() if s.job.startswith("jobs/")}
    assert set(build["jobs"]["image"]["strategy"]["matrix"]["job"]) == jobs | {"bridge", "migrate", "spark"}


def test_integration_servers_are_those_of_compose() -> None:
    """Both use the same digest of each server."""
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    (job,) = read(ROOT / ".github/workflows/integration.yml")["jobs"].values()
    for name, service in job["services"].items():
        assert service["image"] == compose[name]["image"]
        assert "@sha256:" in service["image"]


def test_android_release_workflow_is_reviewed_and_has_no_cache() -> None:
    """A package is signed by hand, from main, after approval, with nothing from a cache that other runs can write."""
    text = (ROOT / ".github/workflows/android-release.yml").read_text()
    release = read(ROOT / ".github/workflows/android-release.yml")
    assert set(release["on"]) == {"workflow_dispatch"}
    (job,) = release["jobs"].values()
    assert job["environment"] == "android-release"
    assert "refs/heads/main" in job["if"]
    assert "cache" not in json.dumps(release).replace("--no-build-cache", "").replace("--no-configuration-cache", "")
    assert [line for line in text.splitlines() if "assetlinks.json" in line]
    assert "attest-build-provenance" in text
    assert "assembleRelease bundleRelease" in text


def test_android_workflow_checks_pull_requests() -> None:
    """Lint, unit tests and a debug package need no secret; emulators of the oldest and the newest Android run it."""
    android = read(ROOT / ".github/workflows/android.yml")
    assert "pull_request" in android["on"]
    commands = " ".join(step.get("run", "") for job in android["jobs"].values() for step in job["steps"])
    for task in ("lintDebug", "testDebugUnitTest", "assembleDebug", "infra.android.emulator_smoke"):
        assert task in commands
    levels = android["jobs"]["emulator"]["strategy"]["matrix"]["api"]
    gradle = (ROOT / "android/app/build.gradle.kts").read_text()
    assert levels == [re.findall(rf"{name} = (\d+)", gradle)[0] for name in ("minSdk", "targetSdk")]
