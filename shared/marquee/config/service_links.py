"""Variables in which Kubernetes announces a service, and which look like settings if its name begins with marquee."""

from __future__ import annotations

import re

# Such as MARQUEE_SERVICE_HOST and MARQUEE_PORT_8080_TCP_ADDR.
_NAME = r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
_VALUES = ("tcp://", "udp://", "sctp://")


def explain_service_link(name: str, value: str) -> str:
    """Return what to do about a variable that Kubernetes sets; an empty string for another variable."""
    if re.search(_NAME, name) or value.startswith(_VALUES):
        return "; Kubernetes sets it for a service named marquee or marquee-*: set enableServiceLinks: false in the pod"
    return ""
