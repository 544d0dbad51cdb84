"""Ids of users and movies: opaque text."""

from __future__ import annotations

import re

VALID_ID = "1 to 128 characters without a control character, a comma or a slash"

# U+2028 and U+2029 end a line too, and a lone surrogate has no UTF-8.
_ID = re.compile("[^,/\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,128}")


def is_valid_id(text: str) -> bool:
    """Return True if ``text`` can be the id of a user or a movie (:data:`VALID_ID`)."""
    return _ID.fullmatch(text) is not None
