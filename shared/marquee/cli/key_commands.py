"""``marquee keys``: create keys of the HTTP APIs, and tokens of users."""

from __future__ import annotations

import argparse
import time

from marquee.cli.argument_types import bounded_int, check_user_id
from marquee.config.api_keys import SCOPES, create_key
from marquee.config.settings import Settings
from marquee.config.user_tokens import MAX_TOKEN_S, UserToken, sign_token
from marquee.errors import SettingsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    creating = actions.add_parser(
        "create",
        help="create a key",
        description="Print a new key, which is stored nowhere, and its entry for MARQUEE_API_KEYS.",
    )
    creating.add_argument("name", help="name of the caller; also the source of the events that it sends")
    creating.add_argument(
        "--scope",
        choices=SCOPES,
        action="append",
        required=True,
        help="read: lists of all users; write: events. May be repeated",
    )
    token = actions.add_parser(
        "token",
        help="sign a token with which an app reads the lists of one user",
        description="Print a token, signed with MARQUEE_TOKEN_SECRET.",
    )
    token.add_argument("user_id", help="the user")
    token.add_argument(
        "--seconds", type=bounded_int(1, MAX_TOKEN_S), default=3_600, metavar="N", help="life of the token (3600)"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    if args.action == "token":
        secret = settings.require("token_secret").token_secret
        check_user_id(args.user_id)
        print(sign_token(secret, UserToken(args.user_id, int(time.time()) + args.seconds)))
        return 0
    try:
        key, entry = create_key(args.name, dict.fromkeys(args.scope))
    except ValueError as error:
        raise SettingsError(f"{args.name[:80]!a} is not a name: it should be of a-z, 0-9 and hyphens") from error
    print(f"key, for the caller:          {key}\nentry, for MARQUEE_API_KEYS:  {entry}")
    return 0
