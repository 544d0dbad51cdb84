"""Ids of users and movies: opaque text."""

from __future__ import annotations

import re

VALID_ID = "1 to 128 characters without a control character, a comma or a slash"

# The rule of marquee.serving.user_id. A lone surrogate has no UTF-8, and U+FFFD replaces bytes that are none.
_ID = re.compile("[^,/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]{1,128}")


def is_valid_id(text: str) -> bool:
    """Return True if ``text`` can be the id of a user or a movie (:data:`VALID_ID`)."""
    return _ID.fullmatch(text) is not None
