"""Each alert has a page, and what a page tells people to type is real."""

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
# name -> (where it fires, the words for it on its page)
THRESHOLDS: dict[str, tuple[float, str]] = {
    "stream-silent": (300, "five minutes"),
    "lag": (60, "more than a minute"),
    "error-rate": (1, "1 %"),
    "slow-answers": (300, "300 ms"),
    "quarantine-burst": (2, "2 %"),
    "monitor-silent": (3_600, "an hour"),
    "live-rmse": (0, "lies above the upper end"),
    "model-stale": (48, "two days"),
    "drift": (0.25, "above .25"),
    "canary-regressed": (3, "three standard errors"),
}
SECTIONS = ["What it means", "Look", "What to do", "How it ends"]


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    assert {page.stem for page in PAGES} == set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_alert_leads_to_its_page(name: str) -> None:
    """The link's end is the page's name; the page is called as the alert, and answers its four questions."""
    rule, text = RULES[name], (RUNBOOKS / f"{name}.md").read_text()
    assert rule.annotations.runbook_url.endswith(f"/docs/runbooks/{name}.md")
    assert text.startswith(f"# {rule.title}\n")
    assert re.findall(r"^## (.*)$", text, re.M) == SECTIONS


def test_the_list_of_pages_is_whole_and_right() -> None:
    """Each alert with its title and severity; the page of operations leads to the list."""
    rows = re.findall(
        r"^\| \[(.*?)\]\((.*?)\.md\) \| .* \| (\w+) \|$", (RUNBOOKS / "README.md").read_text(), re.M
    )
    assert sorted(rows) == sorted((r.title, name, r.labels["severity"]) for name, r in RULES.items())
    assert "(runbooks/README.md)" in (ROOT / "docs/operations.md").read_text()


def test_pages_state_the_thresholds_of_the_rules() -> None:
    """The number at which it fires stands in its page, in the page's own unit."""
    for name, rule in RULES.items():
        assert rule.threshold == THRESHOLDS[name][0], name
        meaning = (RUNBOOKS / f"{name}.md").read_text().split("## Look")[0]
        assert THRESHOLDS[name][1] in " ".join(meaning.split()), name


@pytest.fixture(scope="module", params=BOTH)
def reader(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database as the role of infra/compose/reader.sql sees it; the test's TimescaleDB has one role only."""
    with open_database(request, "runbooks") as owner:
        if request.param == "timescale":
            yield owner
            return
        with owner.transaction() as cursor:
            cursor.execute((ROOT / "infra/compose/reader.sql").read_text())
        with closing(Database(re.sub(r"//[^@]*@", "//reader:reader@", owner.url))) as database:
            yield database
        with owner.transaction() as cursor:
            cursor.execute("DROP ROLE reader")


@pytest.mark.servers
@pytest.mark.parametrize("sql", SQL)
def test_sql_runs(sql: str, reader: Database) -> None:
    """By the role that can only read, which Grafana has, too."""
    with reader.transaction() as cursor:
        cursor.execute(sql)
        cursor.fetchall()


@pytest.mark.servers
@pytest.mark.parametrize("name", sorted(RULES))
def test_the_rules_run_by_the_readers_role(name: str, reader: Database) -> None:
    assert evaluate_rule(reader, RULES[name], datetime.now(UTC)).problem in ("", NO_DATA)


def test_there_is_sql_and_there_are_commands() -> None:
    """Or the tests beside this one would say nothing."""
    assert len(SQL) >= 11
    assert len([command for command in COMMANDS if command.startswith("marquee ")]) >= 11


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    """Ours by their own parsers; of others the program is one that operations use."""
    words = shlex.split(command, comments=True)
    if words[0] != "marquee":
        assert (
            words[0] in ("gcloud", "curl", "terraform", "make", "docker", "export") or "$(marquee" in command
        )
        return
    parser = argparse.ArgumentParser(exit_on_error=False)
    _, verb, rest = find_verb(words[1:])
    assert isinstance(verb, Verb)
    importlib.import_module(verb.module).add_arguments(parser)
    parsed = parser.parse_args(rest)
    if words[1:3] == ["local", "logs"] and len(words) > 3:
        assert (
            f'"{parsed.part}"'
            in Path(str(importlib.import_module(LocalSystem.__module__).__file__)).read_text()
        )


def test_settings_that_pages_name_exist() -> None:
    text = "".join(path.read_text() for path in [*PAGES, ROOT / "docs/alerts.md"])
    named = {name.lower() for name in re.findall(r"MARQUEE_([A-Z_]+)", text)}
    assert named <= set(Settings.__dataclass_fields__)


def test_files_that_pages_name_exist() -> None:
    text = "".join(path.read_text() for path in PAGES)
    named = re.findall(r"`((?:infra|dashboards|shared|docs)/[\w./-]+\.\w+)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
