"""Validation of user ids."""

from __future__ import annotations

import re

from marquee.errors import InvalidUserId

MAX_LENGTH = 128
# The replacement character stands for bytes that are not UTF-8.
_INVALID = "[\x00-\x1f\x7f-\x9f,/\ud800-\udfff\ufffd]"  # Compiled when it is first needed.
_MAX_SHOWN = 40


def check_user_id(raw: str) -> str:
    """Return ``raw``. Raises :class:`InvalidUserId`, with one sentence, if it is not a valid user id.

    Ids are opaque: what a model was trained on is served. That the event log has numbers only is up to its parser.
    """
    is_plain = raw.isascii() and raw.isalnum()  # Nearly every id; searching takes longer.
    if 0 < len(raw) <= MAX_LENGTH and (is_plain or not re.search(_INVALID, raw)):
        return raw
    shown = ascii(raw if len(raw) <= _MAX_SHOWN else raw[:_MAX_SHOWN] + "...")
    raise InvalidUserId(
        f"{shown} is not a user id: it should be 1 to {MAX_LENGTH} characters without control characters, comma and "
        "slash, as in /recommend/123456."
    )
