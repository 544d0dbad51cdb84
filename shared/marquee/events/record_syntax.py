"""Syntax of the parts that records have in common: times, user ids and movie ids.

Lengths are bounded, so that every value that is accepted can be stored and indexed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

USER_ID = r"[0-9]{1,20}"
MOVIE_ID = r"[a-z0-9+_.*-]{0,500}\+(?:[0-9]{4})?"
"""Ends in a plus and, usually, a year. A random string in place of an id has neither."""
TIME = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}"
    r"(?::[0-9]{2}(?:\.(?:[0-9]{9}|[0-9]{6}|[0-9]{3}))?)?"
)

# Times before 1970 are the zero times of other systems (year 1, 1601) or corrupt; pandas cannot represent some of them.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

_match_time = re.compile(TIME).fullmatch
_match_user_id = re.compile(USER_ID).fullmatch
_match_movie_id = re.compile(MOVIE_ID).fullmatch
_match_movie_ids = re.compile(rf"(?:{MOVIE_ID}(?:, {MOVIE_ID})*)?").fullmatch
# PostgreSQL cannot store NUL or halves of surrogate pairs as text.
_find_unstorable = re.compile("[\0\ud800-\udfff]").search


def is_time(text: str) -> bool:
    """Return whether ``text`` has the form of a record's time; the date may not exist."""
    return _match_time(text) is not None


def is_user_id(text: str) -> bool:
    """Return whether ``text`` is a user id: 1 to 20 decimal digits."""
    return _match_user_id(text) is not None


def is_movie_id(text: str) -> bool:
    """Return whether ``text`` is a movie id: ``[a-z0-9+_.*-]``, ending in ``+`` or ``+`` and a year."""
    return _match_movie_id(text) is not None


def is_movie_list(text: str) -> bool:
    """Return whether ``text`` is a list of movie ids joined with ``", "``; the empty list is one."""
    return _match_movie_ids(text) is not None


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store ``text``: no NUL, no lone surrogates."""
    return _find_unstorable(text) is None
