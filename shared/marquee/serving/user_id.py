"""What a user id is."""

from __future__ import annotations

import re

from marquee.errors import InvalidUserId

_USER_ID = re.compile(r"[0-9]{1,20}", re.ASCII)
_SHOWN = 40


def check_user_id(raw: str) -> str:
    """Return ``raw`` if a customer can have that id; raises :class:`InvalidUserId` with a sentence."""
    if _USER_ID.fullmatch(raw):
        return raw
    shown = ascii(raw if len(raw) <= _SHOWN else raw[:_SHOWN] + "...")
    raise InvalidUserId(
        f"{shown} is not a user id: it should be 1 to 20 decimal digits, as in /recommend/123456."
    )
