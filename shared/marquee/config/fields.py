"""What a setting is: how its text is read, what it says of itself, and how it is shown without its secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field
from datetime import tzinfo
from typing import Any, NamedTuple, TypeVar, dataclass_transform
from urllib.parse import urlsplit, urlunsplit

T = TypeVar("T")
N = TypeVar("N", int, float)


class FieldMeta(NamedTuple):
    """What a setting says of itself, for the reader, the docs and ``repr``."""

    parse: Callable[[str], Any]
    doc: str
    secret: bool
    example: str


def setting(
    parse: Callable[[str], Any],
    doc: str,
    default: Any,
    *,
    secret: bool = False,
    example: str = "",
) -> Any:
    """Declare a setting: ``parse`` reads its text, or raises ``ValueError`` with what would be valid."""
    return field(default=default, metadata={"meta": FieldMeta(parse, doc, secret, example)})


def text(raw: str) -> str:
    """Any text."""
    return raw


def zone(raw: str) -> tzinfo:
    """A time zone by its name."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(raw)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("a zone of the IANA database, such as UTC or America/New_York") from error


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number between the two, or one of them."""
    return _between(int, low, high, f"a whole number from {low} to {high}")


def number(low: float, high: float) -> Callable[[str], float]:
    """A number between the two, or one of them."""
    return _between(float, low, high, f"a number from {low:g} to {high:g}")


def _between(read: Callable[[str], N], low: N, high: N, valid: str) -> Callable[[str], N]:
    def parse(raw: str) -> N:
        try:
            value = read(raw)
        except ValueError as error:
            raise ValueError(valid) from error
        if not low <= value <= high:
            raise ValueError(valid)
        return value

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """One of some words."""

    def parse(raw: str) -> str:
        if raw not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return raw

    return parse


def options(raw: str) -> tuple[tuple[str, str], ...]:
    """Names with values, joined with commas."""
    pairs = [pair.partition("=") for pair in raw.split(",") if pair.strip()]
    if any(not (name.strip() and equals) for name, equals, _ in pairs):
        raise ValueError("name=value pairs joined with commas")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def rating_scale(raw: str) -> int:
    """The highest rating of one of the service's two scales."""
    return int(one_of("5", "10")(raw))


def url(*schemes: str) -> Callable[[str], str]:
    """A URL of one of these schemes, or none."""

    def parse(raw: str) -> str:
        if raw == "" or urlsplit(raw).scheme in schemes:
            return raw
        raise ValueError("a URL that begins with " + " or ".join(f"{s}://" for s in schemes))

    return parse


def mask_password(url: str) -> str:
    """``url`` with its password, if it has one, replaced by ``***``."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rsplit("@", 1)[1]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))


@dataclass_transform(frozen_default=True)
def settings_class(cls: type[T]) -> type[T]:
    """A frozen dataclass, but for the methods that ``dataclass`` would write out for each of fifty fields and
    compile: they cost every start 5 ms.
    """
    return dataclass(frozen=True, init=False, eq=False, repr=False)(cls)


def to_text(value: object) -> str:
    """The text from which a setting of this value is read."""
    if isinstance(value, tuple):
        return ",".join(f"{name}={text}" for name, text in value)
    return str(value)


def field_meta(declared_as: Field[Any]) -> FieldMeta:
    """What a setting says of itself."""
    meta: FieldMeta = declared_as.metadata["meta"]
    return meta


def masked_repr(declared_as: Field[Any], value: str) -> str:
    """A setting's text for people; of a secret no more than what is none."""
    if not field_meta(declared_as).secret or not value:
        return repr(value)
    hidden = mask_password(value)
    return repr("***" if hidden == value else hidden)
