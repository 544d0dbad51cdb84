"""compose.yaml without Docker: whatever is written in it has to be something that the code knows."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from marquee.cli.commands import Verb, find_verb
from marquee.config.settings import PREFIX, Settings
from marquee.local.infra_spec import read_functions, read_schedules

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
HAPROXY = (ROOT / "infra/compose/haproxy.cfg").read_text()
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
# Read by Google's libraries and by functions-framework, which runs gunicorn.
KNOWN_TO_LIBRARIES = {
    "PUBSUB_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
    "GOOGLE_CLOUD_PROJECT",
    "WORKERS",
    "THREADS",
}
service = pytest.mark.parametrize("name", SERVICES)
our_service = pytest.mark.parametrize("name", OURS)


def environment(name: str) -> dict[str, str]:
    return dict(SERVICES[name].get("environment", {}))


def dockerfile(name: str) -> str:
    """The Dockerfile of a service of ours, with its build arguments filled in."""
    build = OURS[name]["build"]
    text = (ROOT / build["dockerfile"]).read_text()
    for argument, value in build.get("args", {}).items():
        assert f"ARG {argument}" in text
        text = text.replace(f"${{{argument}}}", value)
    return str(text)


def argv(name: str) -> list[str]:
    """What a container runs."""
    entry = re.findall(r"^ENTRYPOINT (\[.*\])", dockerfile(name), re.M)[-1]
    program: Any = SERVICES[name].get("entrypoint") or yaml.safe_load(entry)
    return [*program, *SERVICES[name].get("command", [])]


@our_service
def test_variables_are_settings_with_values_that_are_valid(name: str) -> None:
    """Read by the very code that reads them in the container; all others are known to a library."""
    ours = {key: value for key, value in environment(name).items() if key.startswith(PREFIX)}
    Settings.from_mapping(ours)
    assert set(environment(name)) - set(ours) <= KNOWN_TO_LIBRARIES


def described(name: str) -> Any:
    """The function that a service runs, or None."""
    return read_functions(ROOT).get(OURS[name]["build"].get("args", {}).get("FUNCTION", ""))


@our_service
def test_functions_are_given_what_they_need_and_no_more(name: str) -> None:
    """As in the cloud: what infra/functions.yaml names, and its workers and threads."""
    function = described(name)
    if function is None:
        return
    given = {key.removeprefix(PREFIX).lower() for key in environment(name) if key.startswith(PREFIX)}
    assert given <= set(function.needs)
    places = {"database_url", "objects_url", "delivery_url"} & set(function.needs)
    assert places <= given
    assert environment(name)["WORKERS"] == str(function.workers)
    assert environment(name)["THREADS"] == str(function.threads)


def test_each_described_function_runs() -> None:
    """Three of `recommend`, one of each other."""
    running = [OURS[name]["build"]["args"]["FUNCTION"] for name in OURS if described(name)]
    assert running.count("recommend") == 3
    assert set(running) == set(read_functions(ROOT))


def test_the_scheduler_knows_where_the_functions_are_that_it_calls() -> None:
    """Each by the name of its service, at the port on which a function's container listens."""
    words = argv("scheduler")
    told = {words[n + 1] for n, word in enumerate(words) if word == "--function"}
    called = {s.function for s in read_schedules(ROOT).values() if s.function}
    assert told == {f"{name}=http://{name}:8080" for name in called}


def test_the_scheduler_is_given_what_its_jobs_need() -> None:
    """Each place that a schedule needs."""
    given = {key.removeprefix(PREFIX).lower() for key in environment("scheduler")}
    for schedule in read_schedules(ROOT).values():
        assert {"database_url", "objects_url", "base_data"} & set(schedule.needs) <= given


def test_commands_are_understood() -> None:
    """By the command line's own parsers."""
    for name in OURS:
        words = [str(word) for word in argv(name)]
        if words[0] == "marquee":
            words = words[1:]
        elif words[:2] == ["python", "main.py"] and name != "scheduler":
            words = [OURS[name]["build"]["args"]["JOB"], *words[2:]]
        else:
            continue
        parser = argparse.ArgumentParser(exit_on_error=False)
        _, verb, rest = find_verb(words)
        assert isinstance(verb, Verb)
        importlib.import_module(verb.module).add_arguments(parser)
        parser.parse_args(rest)


def test_programs_that_are_run_are_there() -> None:
    """The scheduler's module, and the script that prepares the emulators with its options."""
    assert argv("scheduler")[:2] == ["python", "main.py"]
    assert OURS["scheduler"]["build"]["args"] == {"JOB": "scheduler"}
    script, *options = argv("prepare")[1:]
    text = (ROOT / script.removeprefix("/app/")).read_text()
    assert all(f'"{option.split("=")[0].removeprefix("--")}"' in text for option in options)


@service
def test_hosts_are_services(name: str) -> None:
    """Each host:port that is named is a service that listens on it."""
    text = yaml.safe_dump(
        {k: v for k, v in SERVICES[name].items() if k in ("environment", "command", "entrypoint")}
    )
    for host, port in re.findall(r"\b([a-z][a-z0-9-]*):(\d{4})\b", text):
        assert host in SERVICES, host
        assert int(port) in listens(host), f"{host}:{port}"


def listens(name: str) -> set[int]:
    """The ports that a service listens on, by its image or its own configuration."""
    if name in OURS:
        return {int(port) for port in re.findall(r"PORT=(\d+)", dockerfile(name))}
    if name == "balancer":
        return {int(port) for port in re.findall(r"bind :(\d+)", HAPROXY)}
    own = yaml.safe_dump(SERVICES[name])
    found = {int(port) for port in re.findall(r"(?::|-port'?,? ?'?\n?- ')(\d{4})\b", own)}
    return found | ({5432} if name == "database" else set())


@service
def test_what_is_mounted_is_there(name: str) -> None:
    """A file of ours, or a volume that is declared."""
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


@service
def test_starts_are_ordered_by_health(name: str) -> None:
    """What is waited for can become what is waited for: healthy with a check, completed if it ends."""
    for other, how in SERVICES[name].get("depends_on", {}).items():
        target = SERVICES[other]
        if how["condition"] == "service_healthy":
            checked = "healthcheck" in target or "HEALTHCHECK --" in dockerfile(other)
            assert checked
            assert target["restart"] == "unless-stopped"
        else:
            assert how["condition"] == "service_completed_successfully"
            assert target["restart"] == "no"


def test_bridge_health_check_fails_when_file_is_stale(tmp_path: Path) -> None:
    """The command of compose.yaml: healthy with a fresh file, unhealthy with an old one or with none."""
    _, _, *words = SERVICES["bridge"]["healthcheck"]["test"]
    named = environment("bridge")["MARQUEE_HEALTH_FILE"]
    file = tmp_path / "healthy"
    command = [sys.executable, *(word.replace(named, str(file)) for word in words)]
    assert subprocess.run(command, capture_output=True).returncode != 0
    file.touch()
    assert subprocess.run(command).returncode == 0
    os.utime(file, (time.time() - 60,) * 2)
    assert subprocess.run(command).returncode != 0


def test_there_is_no_ring() -> None:
    """Everything can start."""
    started: set[str] = set()
    while len(started) < len(SERVICES):
        ready = {n for n, s in SERVICES.items() if set(s.get("depends_on", {})) <= started} - started
        assert ready, set(SERVICES) - started
        started |= ready


@service
def test_nothing_listens_beyond_this_machine(name: str) -> None:
    """The passwords are known to all."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@service
def test_images_are_of_one_version(name: str) -> None:
    """Ours are built here; others are named by version, never `latest`."""
    image = SERVICES[name]["image"]
    assert image.startswith("marquee/") if name in OURS else re.search(r":v?\d+\.\d+", image)


def test_the_balancer_knows_the_instances_and_their_port() -> None:
    """And asks each whether it is ready, on the path that the function has."""
    servers = re.findall(r"^\s*server (\S+) (\S+):(\d+)", HAPROXY, re.M)
    assert {host for _, host, _ in servers} == {name for name in SERVICES if name.startswith("recommend-")}
    assert {int(port) for _, _, port in servers} == listens("recommend-1")
    assert f"httpchk GET {read_functions(ROOT)['recommend'].ready}" in HAPROXY


def test_the_balancers_patience_is_less_than_the_callers() -> None:
    """Queue, all connects and one answer."""
    ms = {name: int(value) for name, value in re.findall(r"timeout (\w+) (\d+)ms", HAPROXY)}
    (retries,) = re.findall(r"^\s*retries (\d+)", HAPROXY, re.M)
    assert ms["queue"] + (1 + int(retries)) * ms["connect"] + ms["server"] < Settings().caller_timeout_ms


def test_grafana_finds_the_database_and_the_dashboards() -> None:
    """By the same address, database, role and paths as Compose gives them."""
    folder = ROOT / "infra/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/marquee.yaml").read_text())["datasources"]
    url = urlsplit(COMPOSE["x-database"])
    assert source["url"] == f"{url.hostname}:{url.port}"
    assert (
        source["jsonData"]["database"] == url.path[1:] == SERVICES["database"]["environment"]["POSTGRES_DB"]
    )
    sql = (ROOT / "infra/compose/reader.sql").read_text()
    assert f"ROLE {source['user']} LOGIN PASSWORD '{source['secureJsonData']['password']}'" in sql
    (provider,) = yaml.safe_load((folder / "dashboards/marquee.yaml").read_text())["providers"]
    assert f"./dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]


def test_the_database_is_the_one_that_is_made() -> None:
    """User and password of the URL are those of the container."""
    url, made = urlsplit(COMPOSE["x-database"]), SERVICES["database"]["environment"]
    assert (url.username, url.password) == (made["POSTGRES_USER"], made["POSTGRES_PASSWORD"])
