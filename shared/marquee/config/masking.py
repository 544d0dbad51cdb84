"""Masking of secrets in URLs, for messages and logs.

The URL is not parsed as the library that connects with it does: parsers disagree about ``/``, ``#``, ``?`` and ``[`` in
a password. Everything that may be part of a secret is masked instead.
"""

from __future__ import annotations

import re

MASK = "***"

_NAME = r"(?:[\w.+~-]|%[0-9A-Fa-f]{2})*"
_HOST = r"(?:[\w.~%-]*|\[[0-9A-Fa-f:.%]*\])(?::\d{0,5})?"
_AUTHORITY = rf"{_HOST}(?:,{_HOST})*"
_SHOWN_PARAMETERS = frozenset(
    {
        "sslmode",
        "sslrootcert",
        "application_name",
        "connect_timeout",
        "target_session_attrs",
        "channel_binding",
    }
)


def mask_password(url: str) -> str:
    """Return ``url`` with everything that may be a password replaced by ``***``.

    Masked are the user information up to the last ``@`` except for a plain user name, and the query except
    for a few harmless parameters. A text that is not a URL is masked completely.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme.isascii() or not scheme.replace("+", "").isalnum():
        return MASK if url else url
    user_info, at, location = rest.rpartition("@")
    if re.search(r"[?&][^=]*=", user_info):  # The @ may belong to a password in the query.
        return f"{scheme}://{MASK}"
    address, mark, query = _split_query(location)
    authority, slash, path = address.partition("/")
    if not re.fullmatch(_AUTHORITY, authority):
        authority, slash, path = MASK, "", ""
    return f"{scheme}://{_mask_user(user_info)}{at}{authority}{slash}{path}{mark}{_mask_query(query)}"


def _split_query(location: str) -> tuple[str, str, str]:
    match = re.search(r"[?#&;]", location)
    if match is None:
        return location, "", ""
    return location[: match.start()], match[0], location[match.end() :]


def _mask_user(user_info: str) -> str:
    user, colon, _ = user_info.partition(":")
    if not re.fullmatch(_NAME, user):
        return MASK
    return f"{user}:{MASK}" if colon else user


def _mask_query(query: str) -> str:
    return "&".join(map(_mask_parameter, query.split("&"))) if query else ""


def _mask_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if equals and name in _SHOWN_PARAMETERS and re.fullmatch(r"[\w./:%-]*", value):
        return parameter
    return f"{name}={MASK}" if equals and re.fullmatch(r"\w*", name) else MASK
