"""Tests of trace headers: both kinds are parsed, and a malformed one is no trace."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.serving.trace_context import TraceContext, parse_trace

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_parse_trace_traceparent_returns_its_ids() -> None:
    """The sampled flag is the last bit; later versions may append fields."""
    assert parse_trace({"HTTP_TRACEPARENT": f"00-{ID}-{SPAN}-01"}) == TraceContext(ID, SPAN, True)
    assert parse_trace({"HTTP_TRACEPARENT": f"cc-{ID}-{SPAN}-00-later"}) == TraceContext(ID, SPAN, False)


def test_parse_trace_cloud_header_returns_hexadecimal_span() -> None:
    """The span is decimal in the header and hexadecimal in the log."""
    assert parse_trace({"HTTP_X_CLOUD_TRACE_CONTEXT": f"{ID}/255;o=1"}) == TraceContext(ID, f"{255:016x}", True)
    assert parse_trace({"HTTP_X_CLOUD_TRACE_CONTEXT": ID.upper()}) == TraceContext(ID, "", False)


def test_parse_trace_both_headers_prefers_traceparent() -> None:
    """The W3C header takes precedence."""
    both = {"HTTP_TRACEPARENT": f"00-{ID}-{SPAN}-01", "HTTP_X_CLOUD_TRACE_CONTEXT": f"{'1' * 32}/1"}
    assert parse_trace(both) == TraceContext(ID, SPAN, True)


@pytest.mark.parametrize("header", ["", "00", f"00-{'0' * 32}-{SPAN}-01", f"00-{ID}-{'0' * 16}-01", f"00-{ID}"])
def test_parse_trace_malformed_header_returns_none(header: str) -> None:
    """Missing parts and ids of zeros are not valid."""
    assert parse_trace({"HTTP_TRACEPARENT": header}) is None


@given(
    st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True),
    st.text() | st.from_regex(r"[0-9a-fA-F]{32}(/[0-9]{1,25})?(;o=[0-9])?", fullmatch=True),
)
def test_parse_trace_any_header_returns_none_or_hexadecimal_ids(traceparent: str, cloud: str) -> None:
    """No header raises; an accepted one has 32 hexadecimal digits, and a span id of 16 or none."""
    both = {"HTTP_TRACEPARENT": traceparent, "HTTP_X_CLOUD_TRACE_CONTEXT": cloud}
    for environ in (both, {"HTTP_X_CLOUD_TRACE_CONTEXT": cloud}):
        trace = parse_trace(environ)
        if trace is not None:
            assert re.fullmatch(r"[0-9a-f]{32}", trace.trace_id)
            assert re.fullmatch(r"([0-9a-f]{16})?", trace.span_id)
