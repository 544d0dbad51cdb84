"""The Terraform configuration, read without Terraform; `make infra-check` runs Terraform's own tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from marquee.local.infra_spec import read_schedules

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "infra/terraform"
FILES = sorted(TERRAFORM.rglob("*.tf"))
TEXT = "\n".join(path.read_text() for path in FILES)
README = (TERRAFORM / "README.md").read_text()


def test_readme_example_is_planned_by_terraform_test() -> None:
    """The example of the README is the variables of readme.tftest.hcl, word for word."""
    example = re.findall(r"```hcl\n(.*?)```", README, re.S)[0]
    tested = (TERRAFORM / "tests/readme.tftest.hcl").read_text()
    (variables,) = re.findall(r"^variables \{\n(.*?)^\}", tested, re.M | re.S)
    assert [line.strip() for line in variables.splitlines()] == example.splitlines()


@pytest.mark.parametrize("kind", ["variable", "output"])
def test_terraform_block_has_description(kind: str) -> None:
    """`terraform plan` asks for a variable by its description."""
    blocks = re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', TEXT, re.M | re.S)
    assert blocks
    assert not [name for name, body in blocks if "description" not in body.splitlines()[0]]


def test_readme_first_apply_is_in_order() -> None:
    """Services by hand, docker's login, half an apply with the egress address, images, and the rest with `migrate`."""
    steps = [
        "gcloud services enable cloudresourcemanager.googleapis.com",
        "gcloud auth configure-docker",
        "terraform init",
        "-target=google_artifact_registry_repository.images",
        "terraform output -raw egress_address",
        "../images.sh",
        "Apply the rest: `terraform apply`",
    ]
    assert [README.index(step) for step in steps] == sorted(README.index(step) for step in steps)
    assert "--platform linux/amd64" in (ROOT / "infra/images.sh").read_text()


def test_readme_targets_exist() -> None:
    """Each -target of the first apply is a resource, and none of them runs the migration."""
    targets = re.findall(r"-target=(\w+)\.(\w+)", README)
    assert len(targets) > 4
    assert not [t for t in targets if f'resource "{t[0]}" "{t[1]}"' not in TEXT]


def test_readme_destroys_after_protection_is_off() -> None:
    """Terraform reads deletion_protection from the state, so it must be applied before."""
    (section,) = re.findall(r"## Destroy\n(.*?)^## ", README, re.S | re.M)
    commands = re.findall(r"^terraform (\w+) -var=deletion_protection=false", section, re.M)
    assert commands == ["apply", "destroy"]


def test_readme_lists_every_file() -> None:
    """The table of files is complete."""
    conventional = ("versions.tf", "variables.tf", "outputs.tf")
    names = [path.name for path in TERRAFORM.glob("*.tf") if path.name not in conventional]
    assert not [name for name in names if f"`{name}`" not in README]


def test_operations_page_covers_every_google_alert() -> None:
    """The mail of an alert sends its reader to docs/operations.md."""
    manual = (ROOT / "docs/operations.md").read_text()
    monitoring = (TERRAFORM / "monitoring.tf").read_text()
    alerts = [*re.findall(r"^    ([a-z-]+) = \{$", monitoring, re.M), "silent"]
    assert len(alerts) > 3
    assert not [alert for alert in alerts if f"| `{alert}` |" not in manual]


def test_skipped_check_gives_reason() -> None:
    """Every checkov finding is either corrected or answered."""
    skips = re.findall(r"checkov:skip=(\w+)(.*)", TEXT)
    assert skips
    assert not [check for check, reason in skips if len(reason) < 10]


def test_terraform_calls_no_path_that_google_reserves() -> None:
    """Google reserves paths that end in z on its own domains, so no probe may rely on one."""
    code = re.sub(r"description\s*=.*", "", TEXT)
    assert not re.findall(r'"[^"\s]*/[a-z]*z"', code)


def test_images_script_builds_every_deployed_job() -> None:
    """The images that Terraform deploys are those that images.sh builds."""
    jobs = {Path(s.job).name for s in read_schedules(ROOT).values() if s.job.startswith("jobs/")}
    (words,) = re.findall(r"set -- (.*)$", (ROOT / "infra/images.sh").read_text(), re.M)
    listed = subprocess.run(["bash", "-c", f"echo {words}"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(listed.stdout.split()) == jobs | {"bridge", "migrate", "spark"}
    assert all((ROOT / f"jobs/{job}/main.py").is_file() for job in jobs)
