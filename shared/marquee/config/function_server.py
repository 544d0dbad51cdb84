"""Setup of the server of a function: limits, the guard of loopback, and answers while the settings are invalid."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from marquee.config.loopback_guard import guard_loopback
from marquee.config.request_limits import limit_requests
from marquee.errors import SettingsError

if TYPE_CHECKING:
    from flask import Flask

_log = logging.getLogger("marquee")

NOT_CONFIGURED = "This function has invalid settings. Its log names them.\n"
_HEADERS = {"Content-Type": "text/plain; charset=utf-8", "Retry-After": "60", "Cache-Control": "no-store"}


def prepare_server(app: Flask) -> None:
    """Prepare the Flask application of a function, after the function has wrapped it and before its server starts."""
    limit_requests()
    guard_loopback(app)
    app.register_error_handler(SettingsError, refuse_settings)


def refuse_settings(error: SettingsError) -> tuple[str, int, dict[str, str]]:
    """Log the invalid settings; return body, status and headers of the answer, which does not show them."""
    _log.error("Nothing can be served: %s", error)
    return NOT_CONFIGURED, 503, dict(_HEADERS)
