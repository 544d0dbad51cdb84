"""What keeps the page to this machine: who may ask, and what the browser may load.

The page listens on 127.0.0.1 only. A site that the user visits could still point a name of its own at that
address (DNS rebinding), so a request must name this machine; and nothing may be loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOSTS = ("127.0.0.1", "localhost", "[::1]")
# Plotly sets style attributes, which is all that 'unsafe-inline' allows here; no script is inline.
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
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what does not name this machine; add the headers to every answer."""
    if not names_this_machine(request.headers.get("Host", "")):
        answer: web.StreamResponse = web.Response(
            status=421, text=f"This page is for this machine only: ask for it as {', '.join(HOSTS)}.\n"
        )
    else:
        try:
            answer = await handler(request)
        except web.HTTPException as refusal:
            answer = web.Response(status=refusal.status, text=f"{refusal.status}: {refusal.reason}\n")
    for name, value in _HEADERS.items():
        answer.headers[name] = value
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


def names_this_machine(host: str) -> bool:
    """Whether a Host header names this machine, with a port or without."""
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "0")
    return name in HOSTS and port.isdecimal()
