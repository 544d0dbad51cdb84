"""Trace headers: both kinds are read, and nonsense is no trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.serving.trace_context import TraceContext, parse_trace

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_trace_context_of_the_w3c() -> None:
    assert parse_trace({"HTTP_TRACEPARENT": f"00-{ID}-{SPAN}-01"}) == TraceContext(ID, SPAN, True)
    assert parse_trace({"HTTP_TRACEPARENT": f"cc-{ID}-{SPAN}-00-later"}) == TraceContext(ID, SPAN, False)


def test_trace_context_of_google_cloud() -> None:
    """Its span is decimal there, and hexadecimal in the log."""
    assert parse_trace({"HTTP_X_CLOUD_TRACE_CONTEXT": f"{ID}/255;o=1"}) == TraceContext(
        ID, f"{255:016x}", True
    )
    assert parse_trace({"HTTP_X_CLOUD_TRACE_CONTEXT": ID.upper()}) == TraceContext(ID, "", False)


def test_the_standard_header_wins() -> None:
    both = {"HTTP_TRACEPARENT": f"00-{ID}-{SPAN}-01", "HTTP_X_CLOUD_TRACE_CONTEXT": f"{'1' * 32}/1"}
    assert parse_trace(both) == TraceContext(ID, SPAN, True)


@pytest.mark.parametrize(
    "header", ["", "00", f"00-{'0' * 32}-{SPAN}-01", f"00-{ID}-{'0' * 16}-01", f"00-{ID}"]
)
def test_a_malformed_header_is_no_trace(header: str) -> None:
    assert parse_trace({"HTTP_TRACEPARENT": header}) is None


@given(st.text(), st.text())
def test_any_header_at_all_is_borne(parent: str, cloud: str) -> None:
    parse_trace({"HTTP_TRACEPARENT": parent, "HTTP_X_CLOUD_TRACE_CONTEXT": cloud})
    parse_trace({"HTTP_X_CLOUD_TRACE_CONTEXT": cloud})
