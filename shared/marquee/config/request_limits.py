"""Limits of requests, which functions-framework has no options for: length of the request line, and time to arrive.

gunicorn searches all that has arrived of a request line each time more of it arrives, so that a line of megabytes costs
seconds of processor time before anyone can look at it.
"""

from __future__ import annotations

from typing import Any

MAX_REQUEST_LINE = 8_190
"""Bytes; gunicorn's own maximum. A user id of 128 characters takes at most 1,536 of them."""


WORKER_CLASS = "marquee.config.deadline_worker.DeadlineWorker"


def limit_requests() -> None:
    """Set :data:`MAX_REQUEST_LINE` and :data:`WORKER_CLASS` in a server that is configured after this call."""
    import gunicorn.config

    worker: Any = gunicorn.config.WorkerClass
    worker.default = WORKER_CLASS

    setting: Any = gunicorn.config.LimitRequestLine
    setting.validator = staticmethod(lambda value: min(int(value) or MAX_REQUEST_LINE, MAX_REQUEST_LINE))
