"""The command ``marquee``: groups, short forms, help, exit codes, and what is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from marquee import __version__
from marquee.cli.commands import COMMANDS, Group, UnknownCommand, Verb, find_verb
from marquee.cli.main import EXIT_BROKEN_PIPE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WRONG_CALL, main

ROOT = Path(__file__).parents[2]
PATHS = [
    *([name] for name, command in COMMANDS.items() if isinstance(command, Verb)),
    *([name, verb] for name, group in COMMANDS.items() if isinstance(group, Group) for verb in group.verbs),
]
ids = " ".join


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_main_without_verb_lists_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every group and verb has a line; the exit code is 0."""
    assert main(words) == 0
    shown = capsys.readouterr().out
    names = [line.split()[0] for line in shown.splitlines() if line.strip()]
    assert all(path[-1] in names for path in PATHS)
    assert all(name in names for name in COMMANDS)


@pytest.mark.parametrize("words", [["model"], ["model", "--help"]])
def test_main_with_group_lists_its_verbs(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Only the verbs of the group."""
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "retrain" in shown
    assert "bridge" not in shown


def test_main_version_prints_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"marquee {__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["retrian"], "did you mean retrain?"),
        (["db", "migrat"], "did you mean migrate?"),
        (["xyz"], "see `marquee`"),
    ],
)
def test_main_unknown_verb_suggests_another(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code of a wrong call is 2."""
    assert main(words) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_verb_help_shows_usage_and_description(path: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every verb explains itself."""
    with pytest.raises(SystemExit) as ended:
        main([*path, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    # `retention` is listed in two groups; its usage names the first.
    assert shown.startswith(f"usage: marquee {' '.join(find_verb(path)[0])}")
    assert len(shown.splitlines()) > 5


@pytest.mark.parametrize("name", ["release", "local", "privacy"])
def test_verb_without_action_lists_its_actions(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As a group without a verb lists its verbs."""
    with pytest.raises(SystemExit) as ended:
        main([name])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for action in find_verb([name])[1].actions.split("|"):  # type: ignore[union-attr]
        assert f"\n    {action}" in shown


@pytest.mark.parametrize("name", ["retrain", "migrate", "simulate", "bridge", "monitor", "lineage", "quarantine"])
def test_find_verb_without_group_finds_it(name: str) -> None:
    """The short form names the same verb as the full one."""
    path, verb, rest = find_verb([name, "--flag"])
    assert path[-1] == name
    assert len(path) == 2
    assert find_verb([*path, "--flag"]) == (path, verb, rest)
    assert rest == ["--flag"]


def test_find_verb_of_another_group_is_unknown() -> None:
    """A group has only its own verbs."""
    with pytest.raises(UnknownCommand, match="marquee model: there is no command"):
        find_verb(["model", "migrate"])


def test_main_failure_names_verb_and_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of Marquee is one line on standard error and exit code 1."""
    monkeypatch.delenv("MARQUEE_DATABASE_URL", raising=False)
    assert main(["migrate"]) == 1
    assert capsys.readouterr().err.startswith("marquee db migrate: MARQUEE_DATABASE_URL is not set")


def test_main_help_imports_no_verb() -> None:
    """The list is shown without importing what a verb needs."""
    code = (
        "import sys; from marquee.cli.main import main; main([]); "
        "print([name for name in sys.modules if name.startswith('marquee.cli.') or name in ('numpy', 'psycopg2')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['marquee.cli.commands', 'marquee.cli.main']"


def test_exit_codes_are_documented() -> None:
    """docs/command_line.md has each code of the entry point, and each verb with a code 3 of its own."""
    page = (ROOT / "docs/command_line.md").read_text()
    for code in (0, EXIT_FAILED, EXIT_WRONG_CALL, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE):
        assert f"\n| {code} | " in page
    own = {
        f"{group} {name}"
        for group, command in COMMANDS.items()
        if isinstance(command, Group)
        for name, verb in command.verbs.items()
        if re.search(
            r"^(EXIT_\w+|FIRING)\b.* 3$",
            (ROOT / f"shared/{verb.module.replace('.', '/')}.py").read_text(),
            re.M,
        )
    }
    assert len(own) >= 4
    assert not [name for name in own if f"| `{name}" not in page]


def test_main_closed_pipe_ends_without_traceback() -> None:
    """`marquee | head -0`: the reader has gone before the first line."""
    command = f"{sys.executable} -m marquee | (exec 0<&-; true); exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", f"set +o pipefail; {command}"], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_main_closed_stdout_returns_141() -> None:
    """A write to a pipe without a reader ends with the code of SIGPIPE."""
    code = (
        "import os, sys; from marquee.cli.main import main\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1); raise SystemExit(main([]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")
