"""compose.yaml, read without Docker: commands, variables, hosts and files in it exist."""

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
from infra.compose import prepare

from marquee.cli.commands import Verb, find_verb
from marquee.config.fields import name_value_pairs
from marquee.config.needs import DATABASE_PARTS
from marquee.config.settings import PREFIX, Settings
from marquee.db.logins import login_name
from marquee.local.infra_spec import read_functions, read_schedules

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
HAPROXY = (ROOT / "infra/compose/haproxy.cfg").read_text()
# One service builds each image; the others that run it only name it.
BUILDS = {service["image"]: service["build"] for service in SERVICES.values() if "build" in service}
OURS = {name: service for name, service in SERVICES.items() if service["image"] in BUILDS}
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
    """Return the Dockerfile of a built service with its arguments filled in."""
    build = BUILDS[OURS[name]["image"]]
    text = (ROOT / build["dockerfile"]).read_text()
    for argument, value in build.get("args", {}).items():
        assert f"ARG {argument}" in text
        text = text.replace(f"${{{argument}}}", value)
    return str(text)


def argv(name: str) -> list[str]:
    """Return the command line of a container."""
    entry = re.findall(r"^ENTRYPOINT (\[.*\])", dockerfile(name), re.M)[-1]
    program: Any = SERVICES[name].get("entrypoint") or yaml.safe_load(entry)
    return [*program, *SERVICES[name].get("command", [])]


@our_service
def test_service_variables_are_valid_settings(name: str) -> None:
    """The settings parse; every other variable is one that a library reads."""
    ours = {key: value for key, value in environment(name).items() if key.startswith(PREFIX)}
    Settings.from_mapping(ours)
    assert set(environment(name)) - set(ours) <= KNOWN_TO_LIBRARIES


def function_spec(name: str) -> Any:
    """Return the function that a service runs, or None."""
    return read_functions(ROOT).get(BUILDS[OURS[name]["image"]]["args"].get("FUNCTION", ""))


@our_service
def test_function_service_gets_only_its_settings(name: str) -> None:
    """As in the cloud: the settings of config/needs.py, and workers and threads of infra/functions.yaml."""
    function = function_spec(name)
    if function is None:
        return
    given = {key.removeprefix(PREFIX).lower() for key in environment(name) if key.startswith(PREFIX)}
    assert given <= set(function.needs)
    urls = {"database_url", "objects_url", "delivery_url"} & set(function.needs)
    assert urls <= given
    assert environment(name)["WORKERS"] == str(function.workers)
    assert environment(name)["THREADS"] == str(function.threads)


def test_services_run_every_function() -> None:
    """Three instances of `recommend`, one of each other function."""
    running = [BUILDS[OURS[name]["image"]]["args"]["FUNCTION"] for name in OURS if function_spec(name)]
    assert running.count("recommend") == 3
    assert set(running) == set(read_functions(ROOT))


def test_scheduler_options_name_called_functions() -> None:
    """The URL is that of the service, with the port of a function's container."""
    words = argv("scheduler")
    options = {word.removeprefix("--function=") for word in words if word.startswith("--function=")}
    called = {s.function for s in read_schedules(ROOT).values() if s.function}
    assert options == {f"{name}=http://{name}:8080" for name in called}


def test_scheduler_variables_cover_its_jobs() -> None:
    """Database, objects and base data, as the jobs need them."""
    given = {key.removeprefix(PREFIX).lower() for key in environment("scheduler")}
    jobs = [schedule for schedule in read_schedules(ROOT).values() if not schedule.function]
    for schedule in jobs:
        assert {"objects_url", "base_data"} & set(schedule.needs) <= given
    assert set(scheduled_databases()) == {schedule.part for schedule in jobs}


def scheduled_databases() -> dict[str, str]:
    """Return the database of each scheduled job."""
    options = [word.removeprefix("--database=") for word in argv("scheduler") if word.startswith("--database=")]
    return dict(option.split("=", 1) for option in options)


def test_service_databases_have_the_login_of_their_part() -> None:
    """`migrate` alone has the owner's address, and makes the logins with these passwords."""
    urls = {BUILDS[s["image"]]["args"]["FUNCTION"]: environment(n)["MARQUEE_DATABASE_URL"]
            for n, s in OURS.items() if "FUNCTION" in BUILDS[s["image"]]["args"]}  # fmt: skip
    urls |= scheduled_databases()
    assert set(urls) == set(DATABASE_PARTS)
    passwords = dict(name_value_pairs(environment("migrate")["MARQUEE_DATABASE_LOGINS"]))
    owner = COMPOSE["x-database"]
    assert environment("migrate")["MARQUEE_DATABASE_URL"] == owner
    for part, url in urls.items():
        assert url == owner.replace("marquee:marquee@", f"{login_name(part)}:{passwords[part]}@")


def test_service_commands_parse() -> None:
    """The parsers of the command line accept them."""
    for name in OURS:
        words = [str(word) for word in argv(name)]
        if words[0] == "marquee":
            words = words[1:]
        elif words[:2] == ["python", "main.py"] and name != "scheduler":
            words = [BUILDS[OURS[name]["image"]]["args"]["JOB"], *words[2:]]
        else:
            continue
        parser = argparse.ArgumentParser(exit_on_error=False)
        _, verb, rest = find_verb(words)
        assert isinstance(verb, Verb)
        importlib.import_module(verb.module).add_arguments(parser)
        parser.parse_args(rest)


def test_scheduler_and_prepare_programs_exist() -> None:
    """The scheduler's job, and the script that prepares the emulators with its options."""
    assert argv("scheduler")[:2] == ["python", "main.py"]
    assert BUILDS[OURS["scheduler"]["image"]]["args"] == {"JOB": "scheduler"}
    script, *options = argv("prepare")[1:]
    assert (ROOT / script.removeprefix("/app/")).samefile(prepare.__file__)
    assert prepare.create_parser().parse_args(options).every_s > 0


@service
def test_service_hosts_are_services(name: str) -> None:
    """Each host:port names a service that listens on that port."""
    text = yaml.safe_dump({k: v for k, v in SERVICES[name].items() if k in ("environment", "command", "entrypoint")})
    for host, port in re.findall(r"\b([a-z][a-z0-9-]*):(\d{4,5})\b", text):
        assert host in SERVICES, host
        assert int(port) in listening_ports(host), f"{host}:{port}"


def listening_ports(name: str) -> set[int]:
    """Return the ports on which a service listens, by its image or configuration."""
    if name in OURS:
        named = {words[n + 1] for words in [argv(name)] for n, word in enumerate(words) if word.endswith("-port")}
        return {int(port) for port in [*re.findall(r"PORT=(\d+)", dockerfile(name)), *named]}
    if name == "balancer":
        return {int(port) for port in re.findall(r"bind :(\d+)", HAPROXY)}
    own = yaml.safe_dump(SERVICES[name])
    found = {int(port) for port in re.findall(r"(?::|-port'?,? ?'?\n?- ')(\d{4})\b", own)}
    return found | {"database": {5432}, "documents": {27017}}.get(name, set())


@service
def test_service_volumes_exist(name: str) -> None:
    """Each source is a file of the repository or a declared volume."""
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


@service
def test_service_dependencies_can_be_met(name: str) -> None:
    """A service that must be healthy has a check; one that must complete does not restart."""
    for other, how in SERVICES[name].get("depends_on", {}).items():
        target = SERVICES[other]
        if how["condition"] == "service_healthy":
            checked = "healthcheck" in target or "HEALTHCHECK --" in dockerfile(other)
            assert checked
            assert target["restart"] == "unless-stopped"
        else:
            assert how["condition"] == "service_completed_successfully"
            assert target["restart"] == "no"


def test_service_images_are_built_once() -> None:
    """Services that build one tag in parallel fail with "already exists" in Docker's containerd store."""
    built = [service["image"] for service in SERVICES.values() if "build" in service]
    assert sorted(built) == sorted(set(built))
    ours = {service["image"] for service in SERVICES.values() if service["image"].startswith("marquee/")}
    assert ours == set(built)


@pytest.mark.parametrize("name", ["bridge", "prepare"])
def test_health_check_fails_when_file_is_stale(name: str, tmp_path: Path) -> None:
    """The command of compose.yaml: healthy with a fresh file, unhealthy with an old one or with none."""
    _, _, *words = SERVICES[name]["healthcheck"]["test"]
    named = "/tmp/healthy" if name == "bridge" else "/tmp/prepared"
    assert named in yaml.safe_dump([SERVICES[name].get("entrypoint"), SERVICES[name].get("command")])
    file = tmp_path / "healthy"
    command = [sys.executable, *(word.replace(named, str(file)) for word in words)]
    assert subprocess.run(command, capture_output=True).returncode != 0
    file.touch()
    assert subprocess.run(command).returncode == 0
    os.utime(file, (time.time() - 60,) * 2)
    assert subprocess.run(command).returncode != 0


def test_service_dependencies_have_no_cycle() -> None:
    """Every service can start."""
    started: set[str] = set()
    while len(started) < len(SERVICES):
        ready = {n for n, s in SERVICES.items() if set(s.get("depends_on", {})) <= started} - started
        assert ready, set(SERVICES) - started
        started |= ready


@service
def test_service_ports_are_local(name: str) -> None:
    """The passwords are public, so only 127.0.0.1 may be bound."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@service
def test_service_images_are_pinned(name: str) -> None:
    """Images are built here or named by version, never `latest`."""
    image = SERVICES[name]["image"]
    assert image.startswith("marquee/") if name in OURS else re.search(r":v?\d+\.\d+", image)


def test_balancer_servers_are_the_instances() -> None:
    """The balancer also checks the path of the function's readiness."""
    servers = re.findall(r"^\s*server (\S+) (\S+):(\d+)", HAPROXY, re.M)
    assert {host for _, host, _ in servers} == {name for name in SERVICES if name.startswith("recommend-")}
    assert {int(port) for _, _, port in servers} == listening_ports("recommend-1")
    assert f"httpchk GET {read_functions(ROOT)['recommend'].ready}" in HAPROXY


def test_balancer_resolves_names_again() -> None:
    """An instance that is created again has another address."""
    assert re.search(r"^resolvers system\n    parse-resolv-conf$", HAPROXY, re.M)
    (default,) = re.findall(r"^\s*default-server (.*)$", HAPROXY, re.M)
    assert "resolvers system" in default


def test_balancer_timeouts_fit_into_caller_timeout() -> None:
    """Queue, all connects and one answer together."""
    ms = {name: int(value) for name, value in re.findall(r"timeout (\w+) (\d+)ms", HAPROXY)}
    (retries,) = re.findall(r"^\s*retries (\d+)", HAPROXY, re.M)
    assert ms["queue"] + (1 + int(retries)) * ms["connect"] + ms["server"] < Settings().caller_timeout_ms


def test_grafana_provisioning_matches_compose() -> None:
    """Address, database, role and paths are those of compose.yaml."""
    folder = ROOT / "infra/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/marquee.yaml").read_text())["datasources"]
    url = urlsplit(COMPOSE["x-database"])
    assert source["url"] == f"{url.hostname}:{url.port}"
    assert source["jsonData"]["database"] == url.path[1:] == SERVICES["database"]["environment"]["POSTGRES_DB"]
    sql = (ROOT / "infra/compose/reader.sql").read_text()
    assert f"ROLE {source['user']} LOGIN PASSWORD '{source['secureJsonData']['password']}'" in sql
    (provider,) = yaml.safe_load((folder / "dashboards/marquee.yaml").read_text())["providers"]
    assert f"./dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]


def test_database_url_matches_container() -> None:
    """User and password of the URL are those of the database's container."""
    url, made = urlsplit(COMPOSE["x-database"]), SERVICES["database"]["environment"]
    assert (url.username, url.password) == (made["POSTGRES_USER"], made["POSTGRES_PASSWORD"])
