"""Completion of the command line: the words at the cursor, and bash's script run by bash."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from marquee.cli.commands import COMMANDS, Group
from marquee.cli.completion import SCRIPTS, complete
from marquee.cli.main import main


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["retr"], ["retrain"]),
        (["rel"], ["release"]),
        (["--v"], ["--version"]),
        (["db", "mi"], ["migrate"]),
        (["model", "--h"], ["--help"]),
        (["release", "ro"], ["rollback"]),
        (["release", "rollback", "--t"], ["--to"]),
        (["db", "quarantine", "replay", "--unt"], ["--until"]),
        (["quarantine", "replay", "--unt"], ["--until"]),
        (["simulate", "--mode", "syn"], ["synthetic"]),
        (["completion", "f"], ["fish"]),
        (["no-such-verb", ""], []),
        (["release", "promote", ""], []),
    ],
    ids=" ".join,
)
def test_complete_returns_the_words_that_fit(words: list[str], found: list[str]) -> None:
    """The last word is what was typed so far; the group of a verb may be omitted."""
    assert complete(words) == found


def test_complete_nothing_typed_returns_every_command() -> None:
    """Groups and verbs."""
    verbs = {verb for command in COMMANDS.values() if isinstance(command, Group) for verb in command.verbs}
    assert set(complete([])) == set(complete([""])) == {*COMMANDS, *verbs}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_completion_prints_a_script_that_the_shell_accepts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The shell itself checks the syntax, if it is installed."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "marquee completion words" in script
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=script, text=True, check=True)


def test_completion_bash_completes_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    """The script fills COMPREPLY as bash expects it."""
    main(["completion", "bash"])
    script = capsys.readouterr().out
    done = subprocess.run(
        ["bash", "-c", f'marquee() {{ "{sys.executable}" -m marquee "$@"; }}\n{script}\n'
         "COMP_WORDS=(marquee release rollback --t); COMP_CWORD=3; _marquee; echo \"${COMPREPLY[@]}\""],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "--to\n"
