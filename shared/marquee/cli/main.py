"""Entry point of ``marquee``. Only the module of the called verb is imported, so that help is instant."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from marquee import __version__
from marquee.cli.commands import Group, UnknownCommand, Verb, find_verb, list_commands
from marquee.config.needs import NEEDS
from marquee.config.settings import Settings
from marquee.errors import MarqueeError

EXIT_FAILED, EXIT_WRONG_CALL = 1, 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""The exit code of a program that SIGPIPE ends, as of ``marquee ... | head``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0 done, 1 failed, 2 wrong call; a verb may have codes of its own."""
    try:
        code = _call(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


def _call(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(list_commands())
        return 0
    if words[0] == "--version":
        print(f"marquee {__version__}")
        return 0
    try:
        path, command, rest = find_verb(words)
    except UnknownCommand as error:
        print(error, file=sys.stderr)
        return EXIT_WRONG_CALL
    if isinstance(command, Group):
        print(list_commands(path[0]))
        return 0
    return _run(" ".join(("marquee", *path)), command, rest)


def _run(name: str, verb: Verb, words: list[str]) -> int:
    module = importlib.import_module(verb.module)
    parser = argparse.ArgumentParser(prog=name, description=f"{verb.help[0].upper()}{verb.help[1:]}.")
    module.add_arguments(parser)
    # Without an action a verb lists its actions, as a group its verbs.
    args = parser.parse_args(words or ["--help"] if verb.actions else words)
    try:
        settings = Settings.from_mapping(os.environ, NEEDS[verb.part] if verb.part else None)
        code: int = module.run(args, settings)
        return code
    except MarqueeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return EXIT_FAILED


if __name__ == "__main__":
    raise SystemExit(main())
