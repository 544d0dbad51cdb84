"""Requests and replies of the app's pages, independent of any framework."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

import msgspec

from marquee.app.document_schema import DEVICE_DAYS

HTML, JSON, PLAIN = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"
MAX_BODY_BYTES = 65_536
SECURE_COOKIE, LOCAL_COOKIE = "__Host-marquee", "marquee"
"""Names of the device's cookie over HTTPS, and over HTTP on the developer's machine."""

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "require-trusted-types-for 'script'",
        "trusted-types marquee",
    )
)
_SECURITY = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PageRequest(msgspec.Struct, frozen=True):
    """A request. ``path`` is decoded; names of ``headers`` are in lower case; ``address`` is the caller's."""

    method: str
    path: str
    query_string: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    address: str = ""
    secure: bool = False

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; if one is repeated, the last value."""
        return _parse_pairs(self.query_string)

    @property
    def form(self) -> dict[str, str]:
        """The form fields; if one is repeated, the last value."""
        return _parse_pairs(self.body.decode("utf-8", "replace"))

    @property
    def token(self) -> str:
        """The token of the device; empty if there is none."""
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(self.headers.get("cookie", ""))
        except CookieError:
            return ""
        name = SECURE_COOKIE if self.secure else LOCAL_COOKIE
        return cookies[name].value if name in cookies else ""

    @property
    def is_same_origin(self) -> bool:
        """True if the request came from a page of the app or directly from the person.

        Browsers send ``Sec-Fetch-Site``, which pages cannot change, or at least ``Origin`` with every POST. A request
        with neither comes from a program, which cannot send another person's cookie.
        """
        if site := self.headers.get("sec-fetch-site"):
            return site in ("same-origin", "none")
        origin = self.headers.get("origin")
        return origin is None or urlsplit(origin).netloc == self.headers.get("host", "")


class PageReply(msgspec.Struct, frozen=True):
    """A reply. ``token`` is the token of a new device, which becomes a cookie; an empty one deletes the cookie."""

    status: int
    body: bytes = b""
    content_type: str = PLAIN
    headers: dict[str, str] = {}
    token: str | None = None

    def headers_for(self, request: PageRequest) -> list[tuple[str, str]]:
        """Return all headers, including the security headers and the cookie."""
        headers = _SECURITY | {"Content-Type": self.content_type, "Cache-Control": "private, no-cache"} | self.headers
        if request.secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        cookies = [] if self.token is None else [("Set-Cookie", _format_cookie(self.token, request.secure))]
        return [*headers.items(), *cookies]


class RequestDenied(Exception):
    """A request that is not carried out, with the reply that gives the reason."""

    def __init__(self, reply: PageReply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def text_reply(status: int, text: str, **headers: str) -> PageReply:
    """Return ``text`` as plain text; ``_`` in a header's name stands for ``-``."""
    return PageReply(status, f"{text}\n".encode("utf-8", "replace"), headers=_with_hyphens(headers))


def json_reply(status: int, document: object, **headers: str) -> PageReply:
    """Return a document as JSON."""
    named = {"Cache-Control": "no-store"} | _with_hyphens(headers)
    return PageReply(status, msgspec.json.encode(document), JSON, named)


def redirect(path: str, token: str | None = None, **headers: str) -> PageReply:
    """Return a redirect (303) to a page of the app, as the reply to a form."""
    return PageReply(303, headers={"Location": path} | _with_hyphens(headers), token=token)


def _with_hyphens(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _parse_pairs(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=20))
    except ValueError:
        return {}


def _format_cookie(token: str, secure: bool) -> str:
    name = SECURE_COOKIE if secure else LOCAL_COOKIE
    age = DEVICE_DAYS * 86_400 if token else 0
    return f"{name}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
