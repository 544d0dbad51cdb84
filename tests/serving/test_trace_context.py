"""Trace headers: both kinds are read, and nonsense is no trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.serving.trace_context import Trace, trace_of

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_trace_context_of_the_w3c() -> None:
    assert trace_of({"HTTP_TRACEPARENT": f"00-{ID}-{SPAN}-01"}) == Trace(ID, SPAN, True)
    assert trace_of({"HTTP_TRACEPARENT": f"cc-{ID}-{SPAN}-00-later"}) == Trace(ID, SPAN, False)


def test_trace_context_of_google_cloud() -> None:
    """Its span is decimal there, and hexadecimal in the log."""
    assert trace_of({"HTTP_X_CLOUD_TRACE_CONTEXT": f"{ID}/255;o=1"}) == Trace(ID, f"{255:016x}", True)
    assert trace_of({"HTTP_X_CLOUD_TRACE_CONTEXT": ID.upper()}) == Trace(ID, "", False)


def test_the_standard_header_wins() -> None:
    both = {"HTTP_TRACEPARENT": f"00-{ID}-{SPAN}-01", "HTTP_X_CLOUD_TRACE_CONTEXT": f"{'1' * 32}/1"}
    assert trace_of(both) == Trace(ID, SPAN, True)


@pytest.mark.parametrize(
    "header", ["", "00", f"00-{'0' * 32}-{SPAN}-01", f"00-{ID}-{'0' * 16}-01", f"00-{ID}"]
)
def test_a_malformed_header_is_no_trace(header: str) -> None:
    assert trace_of({"HTTP_TRACEPARENT": header}) is None


@given(st.text(), st.text())
def test_any_header_at_all_is_borne(parent: str, cloud: str) -> None:
    trace_of({"HTTP_TRACEPARENT": parent, "HTTP_X_CLOUD_TRACE_CONTEXT": cloud})
    trace_of({"HTTP_X_CLOUD_TRACE_CONTEXT": cloud})
