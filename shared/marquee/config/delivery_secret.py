"""Shared secret of the bridge, `recommend` and `ingest`, where no platform authenticates the sender of a delivery."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from marquee.errors import PushRefused

DELIVERY_HEADER = "Marquee-Delivery-Secret"


def check_delivery_secret(secret: str, headers: Mapping[str, str]) -> None:
    """Raise :class:`PushRefused` unless the headers have ``secret``, compared in constant time."""
    presented = next((value for name, value in headers.items() if name.lower() == DELIVERY_HEADER.lower()), "")
    if not hmac.compare_digest(presented.encode(), secret.encode()):
        problem = "has another" if presented else "lacks the"
        raise PushRefused(
            f"The delivery {problem} {DELIVERY_HEADER}: set MARQUEE_DELIVERY_SECRET of the sender to that of ingest."
        )
