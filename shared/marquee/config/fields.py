"""Field types of the settings: parsing, documentation and masking of secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from datetime import tzinfo
from typing import Any, Literal, NamedTuple, TypeVar, dataclass_transform
from urllib.parse import urlsplit

from marquee.config.masking import MASK, mask_password

RATING_SCALES = ("1-5", "1-10", "0-5", "0-10", "0.5-5", "0.5-10")
"""Rating scales of the event log: whole numbers, or half stars from 0.5 on."""

T = TypeVar("T")
N = TypeVar("N", int, float)

Group = Literal["required", "optional", "tuning"]
"""Section of docs/configuration.md. A required setting is required by the parts that need it."""


class FieldMeta(NamedTuple):
    """Parser and description of a setting."""

    parse: Callable[[str], Any]
    doc: str
    group: Group
    secret: bool
    example: str


def setting(
    parse: Callable[[str], Any],
    doc: str,
    default: Any,
    *,
    group: Group = "optional",
    secret: bool = False,
    example: str = "",
) -> Any:
    """Declare a setting.

    ``parse`` reads its text, or raises ``ValueError`` with the valid values. ``secret`` masks its value in messages.
    """
    return field(default=default, metadata={"meta": FieldMeta(parse, doc, group, secret, example)})


def text(raw: str) -> str:
    """Return the text itself."""
    return raw


def time_zone(raw: str) -> tzinfo:
    """Parse the name of a time zone."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(raw)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("a zone of the IANA database, such as UTC or America/New_York") from error


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of integers from ``low`` to ``high``, both included."""
    return _bounded(int, low, high, f"an integer from {low} to {high}")


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of numbers from ``low`` to ``high``, both included."""
    return _bounded(float, low, high, f"a number from {low:g} to {high:g}")


def _bounded(convert: Callable[[str], N], low: N, high: N, valid: str) -> Callable[[str], N]:
    def parse(raw: str) -> N:
        try:
            value = convert(raw)
        except ValueError as error:
            raise ValueError(valid) from error
        if not low <= value <= high:
            raise ValueError(valid)
        return value

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that accepts only ``choices``."""

    def parse(raw: str) -> str:
        if raw not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return raw

    return parse


def name_value_pairs(raw: str) -> tuple[tuple[str, str], ...]:
    r"""Parse ``name=value`` pairs separated by commas; ``\,`` is a comma within a value."""
    texts = [text.replace(r"\,", ",") for text in re.split(r"(?<!\\),", raw)]
    pairs = [text.partition("=") for text in texts if text.strip()]
    if any(not (name.strip() and equals) for name, equals, _ in pairs):
        raise ValueError("name=value pairs separated by commas")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def host_and_port(raw: str) -> str:
    """Check ``HOST:PORT``; an empty text is accepted."""
    if raw and not re.fullmatch(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):[1-9]\d{0,4}", raw):
        raise ValueError("a host and a port, such as 127.0.0.1:9464")
    return raw


def url(*schemes: str) -> Callable[[str], str]:
    """Return a parser of URLs with one of ``schemes``; an empty text is accepted."""

    def parse(raw: str) -> str:
        # The scheme is read without a parser: urlsplit refuses passwords that libpq accepts.
        if raw == "" or (raw.partition(":")[0].lower() in schemes and _is_valid(raw)):
            return raw
        raise ValueError("a URL that begins with " + " or ".join(f"{scheme}://" for scheme in schemes))

    return parse


def object_store_url(raw: str) -> str:
    """Parse the URL of an object store; an empty text is accepted."""
    parts = urlsplit(raw if _is_valid(raw) else "")
    is_directory = parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/")
    is_bucket = parts.scheme in ("gs", "s3") and bool(parts.netloc)
    if raw and (not (is_directory or is_bucket) or parts.query or parts.fragment):
        raise ValueError("file:///absolute/directory, gs://bucket/prefix or s3://bucket/prefix")
    return raw


def _is_valid(raw: str) -> bool:
    if raw.lower().startswith("postgres"):
        return True  # libpq has its own rules, and is asked when it connects.
    if raw.lower().startswith("mongodb"):
        return True  # It may name several servers; pymongo is asked when it connects.
    try:
        parts = urlsplit(raw)
        return parts.port is None or parts.scheme in ("http", "https")
    except ValueError:
        return False


@dataclass_transform(frozen_default=True)
def settings_class(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen dataclass without the methods that ``dataclass`` would generate.

    Compiling them for all settings would add 5 ms to every start. Without class attributes for the defaults, a setting
    that an object does not have raises ``AttributeError``.
    """
    made = dataclass(frozen=True, init=False, eq=False, repr=False)(cls)
    for declared in fields(made):  # type: ignore[arg-type]
        delattr(made, declared.name)
    return made


def to_text(value: object) -> str:
    """Return the text that parses to ``value``."""
    if isinstance(value, tuple):
        return ",".join(f"{name}={text}".replace(",", r"\,") for name, text in value)
    return str(value)


def field_meta(declared: Field[Any]) -> FieldMeta:
    """Return the parser and description of a setting."""
    meta: FieldMeta = declared.metadata["meta"]
    return meta


def masked_repr(declared: Field[Any], value: object) -> str:
    """Return the representation of a setting's value or text, without passwords.

    Of a secret that is a database's URL, the password is masked; of any other secret, the whole text. Other
    settings may be URLs that hold a password.
    """
    shown = to_text(value)
    if field_meta(declared).secret and shown:
        masked = mask_password(shown) if shown.startswith(("postgresql://", "postgres://")) else MASK
        return repr(MASK if masked == shown else masked)
    return repr(mask_password(shown) if "://" in shown else shown)
