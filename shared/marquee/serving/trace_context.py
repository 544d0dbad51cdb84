"""Which trace a request belongs to, by the headers of W3C Trace Context or of Google Cloud."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

# Compiled by the first request that has such a header, and kept by ``re``: an instance's start has no time for it.
_TRACEPARENT = r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
_CLOUD = r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([01]))?"


class TraceContext(NamedTuple):
    """``trace_id``: 32 hexadecimal digits; ``span_id``: 16, or empty."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_trace(environ: Mapping[str, str]) -> TraceContext | None:
    """The trace of a request by its WSGI environment; None for a request without one, or a malformed one."""
    if parent := environ.get("HTTP_TRACEPARENT"):
        if found := re.fullmatch(_TRACEPARENT, parent.strip(), re.ASCII):
            return TraceContext(found[1], found[2], bool(int(found[3], 16) & 1))
    elif cloud := environ.get("HTTP_X_CLOUD_TRACE_CONTEXT"):
        found = re.fullmatch(_CLOUD, cloud.strip(), re.ASCII)
        if not found:
            return None
        span = int(found[2] or 0)
        return TraceContext(found[1].lower(), f"{span:016x}" if 0 < span < 1 << 64 else "", found[3] == "1")
    return None
