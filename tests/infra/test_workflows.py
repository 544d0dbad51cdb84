"""GitHub's workflows: zizmor, actionlint and the schema look at them in `make infra-check`; this at what they call."""

from __future__ import annotations

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
workflow = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    return found


@workflow
def test_nothing_is_allowed_unless_a_job_says_so(path: Path) -> None:
    """Rights are stated job by job, and each job ends by itself."""
    assert read(path)["permissions"] == {}
    for job in read(path)["jobs"].values():
        assert job["permissions"]
        assert int(job["timeout-minutes"]) <= 60


@workflow
def test_actions_are_pinned_by_commit(path: Path) -> None:
    """With the version beside it, for the reader; the same one everywhere."""
    lines = re.findall(r"uses: (.*)", path.read_text())
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in lines)
    everywhere = {line for file in FILES for line in re.findall(r"uses: (.*)", file.read_text())}
    assert len(everywhere) == len({line.split("@")[0] for line in everywhere})


@workflow
def test_targets_and_files_exist(path: Path) -> None:
    """What a step runs is there."""
    text, makefile = path.read_text(), (ROOT / "Makefile").read_text()
    for words in re.findall(r"run: make (.*)", text):
        assert all(re.search(rf"^{re.escape(word)}:", makefile, re.M) for word in words.split())
    for file in re.findall(r"requirements/[\w.-]+\.txt", text):
        assert (ROOT / file).is_file()
    for module in re.findall(r"-m (infra\.\w+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


@workflow
def test_there_are_no_keys(path: Path) -> None:
    """Google knows a workflow by its identity; secrets are Terraform's, of an environment that can be reviewed."""
    text = path.read_text()
    assert "credentials_json" not in text
    for job in read(path)["jobs"].values():
        if "{{ secrets." in json.dumps(job):
            assert (path.stem, job["environment"]) in {("apply", "production"), ("plan", "plan")}
    for action in re.findall(r"(?s)google-github-actions/auth@.*?(?=\n      - |\Z)", text):
        assert "workload_identity_provider" in action


def test_variables_are_terraforms_outputs() -> None:
    """Each variable that is read is one that `terraform output github` gives, but for the tfvars themselves."""
    names = {name for path in FILES for name in re.findall(r"vars\.(\w+)", path.read_text())}
    assert names - {"TFVARS"} <= set(re.findall(r"^\s+([A-Z_]+)\s+=", TERRAFORM, re.M))


def test_only_a_person_applies() -> None:
    """By hand, from main, in the environment that asks for approval."""
    apply = read(ROOT / ".github/workflows/apply.yml")
    assert set(apply["on"]) == {"workflow_dispatch"}
    assert apply["jobs"]["apply"]["environment"] == "production"
    assert "refs/heads/main" in apply["jobs"]["apply"]["if"]


def test_each_job_has_its_image() -> None:
    """Those that Terraform deploys are those that are built."""
    build = read(ROOT / ".github/workflows/build.yml")
    jobs = {Path(s.job).name for s in read_schedules(ROOT).values() if s.job.startswith("jobs/")}
    assert set(build["jobs"]["image"]["strategy"]["matrix"]["job"]) == jobs | {"bridge", "migrate"}


def test_servers_are_those_of_compose() -> None:
    """One version of each, by digest."""
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    (job,) = read(ROOT / ".github/workflows/integration.yml")["jobs"].values()
    for name, service in job["services"].items():
        assert service["image"] == compose[name]["image"]
        assert "@sha256:" in service["image"]
