"""The Terraform configuration, as far as it can be read without Terraform; `make infra-check` runs Terraform itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from marquee.config.settings import Settings
from marquee.local.infra_spec import read_functions, read_schedules

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "infra/terraform"
FILES = sorted(TERRAFORM.rglob("*.tf"))
TEXT = "\n".join(path.read_text() for path in FILES)
README = (TERRAFORM / "README.md").read_text()


def strings_of(name: str) -> list[str]:
    """The strings of the list ``name`` in ``main.tf``."""
    found = re.search(rf"^\s*{name}\s*= \[(.*?)\]", (TERRAFORM / "main.tf").read_text(), re.M | re.S)
    assert found, f"main.tf has no list {name}"
    return re.findall(r'"([a-z_]+)"', found[1])


def test_the_example_of_the_readme_is_the_one_that_is_tested() -> None:
    """What the README tells to write is planned by a Terraform test, word for word."""
    (example,) = re.findall(r"```hcl\n(.*?)```", README, re.S)
    tested = (TERRAFORM / "tests/readme.tftest.hcl").read_text()
    (variables,) = re.findall(r"^variables \{\n(.*?)^\}", tested, re.M | re.S)
    assert [line.strip() for line in variables.splitlines()] == example.splitlines()


@pytest.mark.parametrize("name", ["bridge_needs", "migrate_needs", "reserved"])
def test_each_setting_in_terraform_is_one_of_ours(name: str) -> None:
    """A setting that was renamed in the code cannot live on in Terraform: the part would refuse to start."""
    names = strings_of(name)
    assert names
    Settings().environment(names)  # raises on a name that is none


def test_what_the_files_need_is_known() -> None:
    """The same for the settings in the two YAML files that Terraform reads."""
    for part in [*read_functions(ROOT).values(), *read_schedules(ROOT).values()]:
        Settings().environment(part.needs)


def test_the_bridge_is_given_all_that_it_reads() -> None:
    """Each setting that the bridge's modules read is one that it is given in the cloud, but for two: its CA is the
    system's, and the file for its health check is the image's."""
    modules = ["bridge/consumer", "cli/run_bridge", "bridge/kafka_client", "bridge/partition_buffer"]
    code = "\n".join((ROOT / f"shared/marquee/{module}.py").read_text() for module in modules)
    read = set(re.findall(r"settings\.([a-z_]+)", code)) - {
        "require",
        "kafka_ca_file",
        "health_file",
        "environment",
    }
    assert read <= set(strings_of("bridge_needs"))


def test_each_variable_and_output_says_what_it_is() -> None:
    """`terraform plan` asks for a variable by its description."""
    for kind in ("variable", "output"):
        blocks = re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', TEXT, re.M | re.S)
        assert blocks
        assert not [name for name, body in blocks if "description" not in body.splitlines()[0]]


def test_each_file_is_in_the_readme() -> None:
    """The table of files has them all."""
    missing = [
        path.name
        for path in TERRAFORM.glob("*.tf")
        if f"`{path.name}`" not in README and path.name not in ("versions.tf", "variables.tf", "outputs.tf")
    ]
    assert not missing


def test_each_skipped_check_gives_its_reason() -> None:
    """checkov's findings are mended, or answered."""
    skips = re.findall(r"checkov:skip=(\w+)(.*)", TEXT)
    assert skips
    assert not [check for check, reason in skips if len(reason) < 10]


def test_no_reserved_path_is_called_from_outside() -> None:
    """Google keeps paths that end in z on its own domains; no probe or check of ours may rest on one."""
    code = re.sub(r"description\s*=.*", "", TEXT)
    assert not re.findall(r'"[^"\s]*/[a-z]*z"', code)


def test_job_images_are_built_from_what_is_there() -> None:
    """The images that Terraform deploys are those that images.sh builds, each with its Dockerfile."""
    jobs = {Path(s.job).name for s in read_schedules(ROOT).values() if s.job.startswith("jobs/")}
    (words,) = re.findall(r"set -- (.*)$", (ROOT / "infra/images.sh").read_text(), re.M)
    listed = subprocess.run(
        ["bash", "-c", f"echo {words}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(listed.stdout.split()) == jobs | {"bridge", "migrate"}
    assert all((ROOT / f"jobs/{job}/main.py").is_file() for job in jobs)
