"""Limit of the request line, which functions-framework sets to none without an option to change it.

gunicorn searches all that has arrived of a request line each time more of it arrives, so that a line of megabytes costs
seconds of processor time before anyone can look at it.
"""

from __future__ import annotations

from typing import Any

MAX_REQUEST_LINE = 8_190
"""Bytes; gunicorn's own maximum. A user id of 128 characters takes at most 1,536 of them."""


def limit_request_line() -> None:
    """Replace settings of no limit by :data:`MAX_REQUEST_LINE`, in a server that is configured after this call."""
    import gunicorn.config

    setting: Any = gunicorn.config.LimitRequestLine
    setting.validator = staticmethod(lambda value: min(int(value) or MAX_REQUEST_LINE, MAX_REQUEST_LINE))
