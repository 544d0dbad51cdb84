"""Validation of user ids."""

from __future__ import annotations

import re

from marquee.errors import InvalidUserId

_USER_ID = re.compile(r"[0-9]{1,20}", re.ASCII)
_MAX_SHOWN = 40


def check_user_id(raw: str) -> str:
    """Return ``raw``. Raises :class:`InvalidUserId`, with one sentence, if it is not a valid user id."""
    if _USER_ID.fullmatch(raw):
        return raw
    shown = ascii(raw if len(raw) <= _MAX_SHOWN else raw[:_MAX_SHOWN] + "...")
    raise InvalidUserId(
        f"{shown} is not a user id: it should be 1 to 20 decimal digits, as in /recommend/123456."
    )
