"""Arguments that the actions of several verbs share: help, JSON output, and reason and author of a release."""

from __future__ import annotations

import argparse
import getpass
from typing import Any


def add_action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Add an action, with its help text also as its description."""
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    return parser


def add_json_action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Add an action with ``--json``."""
    parser = add_action(actions, name, text)
    add_json_option(parser)
    return parser


def add_change_action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Add an action that publishes a release, with ``--json``, ``--reason`` and ``--author``."""
    parser = add_json_action(actions, name, text)
    add_signature_options(parser)
    return parser


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_signature_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--reason`` and ``--author``, which a release stores."""
    parser.add_argument("--reason", default="", help="stored in the release")
    parser.add_argument("--author", default=None, help="stored in the release (default: your login name)")


def get_author(args: argparse.Namespace) -> str:
    """Return the author of a change: the option, or the login name."""
    if args.author:
        return str(args.author)
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user id that has no name.
        return "unknown"
