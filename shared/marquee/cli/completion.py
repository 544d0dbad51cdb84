"""``marquee completion``: scripts that complete the command line in bash, zsh and fish."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable

from marquee.cli.commands import COMMANDS, Group, UnknownCommand, Verb, find_verb
from marquee.config.settings import Settings

# Each script asks for the words that may stand at the cursor; without one, the shell completes file names.
SCRIPTS = {
    "bash": r"""_marquee() {
    local IFS=$'\n'
    COMPREPLY=($(marquee completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _marquee marquee
""",
    "zsh": r"""#compdef marquee
_marquee() {
    local -a found
    found=(${(f)"$(marquee completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -- $found; else _files; fi
}
compdef _marquee marquee
""",
    "fish": r"""function __marquee_words
    marquee completion words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null
end
complete -c marquee -a '(__marquee_words)'
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``marquee completion``."""
    parser.epilog = (
        'bash: eval "$(marquee completion bash)"; zsh: eval "$(marquee completion zsh)" after compinit; '
        "fish: marquee completion fish | source"
    )
    parser.add_argument("shell", choices=(*SCRIPTS, "words"), help="the shell, or `words`, which the scripts call")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="WORD", help=argparse.SUPPRESS)


def run(args: argparse.Namespace, _: Settings) -> int:
    """Print the script of a shell, or the words that may stand at the cursor."""
    if args.shell in SCRIPTS:
        print(SCRIPTS[args.shell], end="")
        return 0
    words = args.rest[1:] if args.rest[:1] == ["--"] else args.rest
    for word in complete(words):
        print(word)
    return 0


def complete(words: list[str]) -> list[str]:
    """Return what may stand in place of the last of ``words``, which is what was typed of it."""
    *before, typed = words or [""]
    return sorted({word for word in _candidates(before, typed) if word.startswith(typed)})


def _candidates(before: list[str], typed: str) -> Iterable[str]:
    if not before:
        verbs = (verb for command in COMMANDS.values() if isinstance(command, Group) for verb in command.verbs)
        return ["--help", "--version"] if typed.startswith("-") else [*COMMANDS, *verbs]
    try:
        _, command, rest = find_verb(before)
    except UnknownCommand:
        return []
    if isinstance(command, Group):
        return ["--help"] if typed.startswith("-") else command.verbs
    return _arguments(command, rest, typed)


def _arguments(verb: Verb, before: list[str], typed: str) -> Iterable[str]:
    """Return the options, actions and choices of a verb after ``before``."""
    parser = argparse.ArgumentParser()
    try:
        importlib.import_module(verb.module).add_arguments(parser)
    except ImportError:  # An image has only the packages of its own part.
        return []
    for word in before:
        if word in (actions := _actions(parser)):
            parser = actions[word]
    if typed.startswith("-"):
        return parser._option_string_actions
    if before and (option := parser._option_string_actions.get(before[-1])) and option.nargs != 0:
        return map(str, option.choices or ())
    if actions := _actions(parser):
        return actions
    positional = (action for action in parser._actions if not action.option_strings)
    return [str(choice) for action in positional for choice in action.choices or ()]


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the actions below ``parser`` by name; argparse has no public way to list them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
