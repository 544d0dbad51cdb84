"""Each alert has a runbook, whose SQL, commands, settings and files are valid."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.monitoring.alerts.conftest import ROOT, RULES, open_database
from tests.support.database_fixtures import BOTH

from marquee.cli.commands import Verb, find_verb
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.local.system import LocalSystem
from marquee.monitoring.alerts.evaluate import NO_DATA, evaluate_rule

RUNBOOKS = ROOT / "docs/runbooks"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
SQL = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, (kind, text) in enumerate(BLOCK.findall(page.read_text()))
    if kind == "sql"
]
COMMANDS = sorted(
    {
        line.strip()
        for page in [*PAGES, ROOT / "docs/alerts.md"]
        for kind, text in BLOCK.findall(page.read_text())
        if not kind
        for line in text.splitlines()
    }
)
# Name -> (threshold, the words for it on the page).
THRESHOLDS: dict[str, tuple[float, str]] = {
    "stream-silent": (300, "five minutes"),
    "lag": (60, "more than a minute"),
    "error-rate": (1, "1 %"),
    "slow-answers": (300, "300 ms"),
    "age-rule": (0, "above 0 lists"),
    "quarantine-burst": (2, "2 %"),
    "monitor-silent": (3_600, "an hour"),
    "live-rmse": (0, "lies above the upper end"),
    "model-stale": (48, "two days"),
    "drift": (0.25, "above 0.25"),
    "experiment-harmed": (20, "20"),
    "experiment-invalid": (1, "1,000"),
    "experiment-blind": (10, "ten minutes"),
    "fairness-worse": (0, "lies above the upper end"),
    "concentration": (0, "lies above the median of the upper ends"),
}
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Resolution"]


def test_runbooks_match_rules() -> None:
    """Every rule has a page, and every page a rule."""
    assert {page.stem for page in PAGES} == set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_runbook_has_title_and_sections(name: str) -> None:
    """The alert links to its page, which has the title of the rule and the five sections."""
    rule, text = RULES[name], (RUNBOOKS / f"{name}.md").read_text()
    assert rule.annotations.runbook_url.endswith(f"/docs/runbooks/{name}.md")
    assert text.startswith(f"# {rule.title}\n")
    assert re.findall(r"^## (.*)$", text, re.M) == SECTIONS


def test_runbook_list_is_complete() -> None:
    """The list has each alert with title and severity, and docs/operations.md links to it."""
    rows = re.findall(r"^\| \[(.*?)\]\((.*?)\.md\) \| .* \| (\w+) \|$", (RUNBOOKS / "README.md").read_text(), re.M)
    assert sorted(rows) == sorted((r.title, name, r.labels["severity"]) for name, r in RULES.items())
    assert "(runbooks/README.md)" in (ROOT / "docs/operations.md").read_text()


def test_runbook_states_the_threshold() -> None:
    """The number at which a rule fires is in the Meaning section of its page."""
    for name, rule in RULES.items():
        assert rule.threshold == THRESHOLDS[name][0], name
        meaning = (RUNBOOKS / f"{name}.md").read_text().split("## Impact")[0]
        assert THRESHOLDS[name][1] in " ".join(meaning.split()), name


@pytest.fixture(scope="module", params=BOTH)
def reader(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Yield a database with the role of infra/compose/reader.sql; the test server for TimescaleDB has one role only."""
    with open_database(request, "runbooks") as owner:
        if request.param == "timescale":
            yield owner
            return
        server = request.getfixturevalue("postgres")
        with closing(Database(server.admin_url())) as admin, admin.transaction() as cursor:
            cursor.execute((ROOT / "infra/compose/reader.sql").read_text())
        with closing(Database(re.sub(r"//[^@]*@", "//reader:reader@", owner.url))) as database:
            yield database
        with closing(Database(server.admin_url())) as admin, admin.transaction() as cursor:
            cursor.execute("DROP ROLE reader")


@pytest.mark.servers
@pytest.mark.parametrize("sql", SQL)
def test_runbook_sql_runs(sql: str, reader: Database) -> None:
    """The read-only role of Grafana is sufficient."""
    with reader.transaction() as cursor:
        cursor.execute(sql)
        cursor.fetchall()


@pytest.mark.servers
@pytest.mark.parametrize("name", sorted(RULES))
def test_rule_query_runs_with_reader_role(name: str, reader: Database) -> None:
    """The read-only role of Grafana is sufficient."""
    assert evaluate_rule(reader, RULES[name], datetime.now(UTC)).problem in ("", NO_DATA)


def test_runbooks_have_sql_and_commands() -> None:
    """Otherwise the parametrized tests of this module would test nothing."""
    assert len(SQL) >= 11
    assert len([command for command in COMMANDS if command.startswith("marquee ")]) >= 11


@pytest.mark.parametrize("command", COMMANDS)
def test_runbook_command_is_valid(command: str) -> None:
    """Our commands are parsed by their own parsers; others must be known programs."""
    words = shlex.split(command, comments=True)
    if words[0] != "marquee":
        assert words[0] in ("gcloud", "curl", "terraform", "make", "docker", "export") or "$(marquee" in command
        return
    parser = argparse.ArgumentParser(exit_on_error=False)
    _, verb, rest = find_verb(words[1:])
    assert isinstance(verb, Verb)
    importlib.import_module(verb.module).add_arguments(parser)
    parsed = parser.parse_args(rest)
    if words[1:3] == ["local", "logs"] and len(words) > 3:
        assert f'"{parsed.part}"' in Path(str(importlib.import_module(LocalSystem.__module__).__file__)).read_text()


def test_runbooks_name_existing_settings() -> None:
    """Every MARQUEE_ variable of a page is a setting."""
    text = "".join(path.read_text() for path in [*PAGES, ROOT / "docs/alerts.md"])
    named = {name.lower() for name in re.findall(r"MARQUEE_([A-Z_]+)", text)}
    assert named <= set(Settings.__dataclass_fields__)


def test_runbooks_name_existing_files() -> None:
    """Every path of a page is a file of the repository."""
    text = "".join(path.read_text() for path in PAGES)
    named = re.findall(r"`((?:infra|dashboards|shared|docs)/[\w./-]+\.\w+)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
