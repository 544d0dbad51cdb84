"""Trace context of a request, from the headers of W3C Trace Context or of Google Cloud."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

# Compiled by the first request with such a header and cached by ``re``, to save time at the start of an instance.
_TRACEPARENT = r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
_CLOUD = r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([01]))?"


class TraceContext(msgspec.Struct, frozen=True):
    """``trace_id``: 32 hexadecimal digits; ``span_id``: 16, or empty."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_trace(environ: Mapping[str, str]) -> TraceContext | None:
    """Return the trace context in a WSGI environment; None if the header is missing or malformed."""
    if traceparent := environ.get("HTTP_TRACEPARENT"):
        if match := re.fullmatch(_TRACEPARENT, traceparent.strip(), re.ASCII):
            return TraceContext(match[1], match[2], bool(int(match[3], 16) & 1))
    elif cloud_header := environ.get("HTTP_X_CLOUD_TRACE_CONTEXT"):
        match = re.fullmatch(_CLOUD, cloud_header.strip(), re.ASCII)
        if not match:
            return None
        span = int(match[2] or 0)
        return TraceContext(match[1].lower(), f"{span:016x}" if 0 < span < 1 << 64 else "", match[3] == "1")
    return None
