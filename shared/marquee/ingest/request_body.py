"""Reading of a request's body up to a limit, and without keeping it."""

from __future__ import annotations

import time
from io import BytesIO
from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge

_MAX_BYTES = 256 * 2**20
_MAX_S = 10


def read_body(request: Any, max_bytes: int) -> bytes:
    """Return the body of a Flask request. Raises ``RequestEntityTooLarge`` if it has more than ``max_bytes``.

    Werkzeug cuts a body of unknown length (chunked) off at its limit without an error, so the limit is one more here.
    """
    request.max_content_length = max_bytes + 1
    body: bytes = request.get_data()
    if len(body) > max_bytes:
        raise RequestEntityTooLarge
    return body


def discard_body(request: Any) -> None:
    """Read and discard the body of a Flask request, because most clients read the answer only after sending it all.

    functions-framework reads the body to its end after the function returns, so the request gets an empty one.
    """
    deadline, remaining = time.monotonic() + _MAX_S, _MAX_BYTES
    stream = request.environ["wsgi.input"]
    while remaining > 0 and time.monotonic() < deadline and (chunk := stream.read(65_536)):
        remaining -= len(chunk)
    request.max_content_length = None
    request.environ |= {"wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"}
