"""Host check and security headers of the page.

The page listens on 127.0.0.1 only. A website could still point its own host name at that address (DNS rebinding),
so the Host header must name this machine. The content security policy allows no resources from elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from marquee.config.loopback_guard import HOSTS, is_local_host

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Plotly sets style attributes, so styles need 'unsafe-inline'. No script is inline.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@web.middleware
async def restrict_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests to other host names, and add the security headers to every response."""
    if not is_local_host(request.headers.get("Host", "")):
        response: web.StreamResponse = web.Response(
            status=421, text=f"This page serves this machine only. Valid host names: {', '.join(HOSTS)}.\n"
        )
    else:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    return response
