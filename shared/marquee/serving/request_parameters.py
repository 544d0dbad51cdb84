"""Parameters of the query string: their descriptions, their schemas and their parser."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from marquee.errors import InvalidRequest, InvalidUserId
from marquee.serving.list_request import LIST_LENGTH, NO_RULES, PLAIN, ListRequest, Rules
from marquee.serving.user_id import check_user_id

MAX_LENGTH = 100
MAX_EXCLUDED = 500
MAX_REASONS = 10
FIRST_YEAR, LAST_YEAR = 1870, 2200
_MAX_SHOWN = 60
_MAX_CACHED_LENGTH = 200


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: its description, its JSON Schema and its parser, which raises ``ValueError``.

    ``valid`` completes "it must be ..."; it is also the error's text.
    """

    valid: str
    doc: str
    schema: dict[str, Any]
    parse: Callable[[str], Any]
    example: str


def parse_list_request(query: str, names: tuple[str, ...] = ()) -> ListRequest:
    """Return the request of a query string, which may be empty.

    ``names``: the parameters that the endpoint has; all of a list's by default. A ``+`` stands for itself, because
    movie ids contain it. Raises :class:`InvalidRequest` that names each problem and what is valid.
    """
    if not query:
        return PLAIN
    # An app asks with the same parameters again and again; those with a page or many movies are asked once.
    parse = _parse_again if len(query) <= _MAX_CACHED_LENGTH else _parse
    return parse(query, names or RECOMMEND_PARAMETERS)


def _parse(query: str, known: tuple[str, ...]) -> ListRequest:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for part in query.split("&"):
        if not part:
            continue
        name, _, text = part.partition("=")
        name, text = unquote(name), unquote(text)
        if name not in known:
            problems.append(f"{_show(name)} is not a parameter here: use {', '.join(known)}")
        elif name in values:
            problems.append(f"{name} is given twice: give it once, and join several values with commas")
        else:
            try:
                values[name] = PARAMETERS[name].parse(text)
            except ValueError:
                values[name] = None
                problems.append(f"{name} is {_show(text)}: it must be {PARAMETERS[name].valid}")
    if problems:
        raise InvalidRequest("; ".join(problems[:5]) + ".")
    return _build(values)


_parse_again = lru_cache(1_000)(_parse)


def _build(values: dict[str, Any]) -> ListRequest:
    rules: dict[str, Any] = {}
    if "genre" in values:
        rules["genres"], rules["genres_excluded"] = values.pop("genre")
    if "year" in values:
        rules["year_min"], rules["year_max"] = values.pop("year")
    if "language" in values:
        rules["languages"] = values.pop("language")
    rules |= {name: values.pop(name) for name in ("max_age", "max_cost") if name in values}
    return ListRequest(**values, rules=Rules(**rules) if rules else NO_RULES)


def _show(text: str) -> str:
    return ascii(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")


def _make_int_parser(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
            raise ValueError(text)
        return int(text)

    return parse


def _parse_fraction(text: str) -> float:
    return _parse_number(text, 1.0)


def _parse_number(text: str, high: float = 1e9) -> float:
    value = float(text) if text.isascii() and "_" not in text else -1.0
    if not 0 <= value <= high:  # Also for NaN.
        raise ValueError(text)
    return value


def _parse_movie_ids(text: str) -> tuple[str, ...]:
    movie_ids = tuple(dict.fromkeys(text.split(",")))
    if len(movie_ids) > MAX_EXCLUDED or not all(0 < len(movie_id) <= 512 for movie_id in movie_ids):
        raise ValueError(text)
    return movie_ids


def _parse_names(text: str) -> tuple[str, ...]:
    """Return names in lower case, sorted and without repetition, so that equal rules are equal."""
    names = [name.strip().lower() for name in text.replace("+", " ").split(",")]
    if len(names) > 30 or not all(0 < len(name.removeprefix("-")) <= 40 for name in names):
        raise ValueError(text)
    return tuple(sorted(set(names)))


def _parse_genres(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = _parse_names(text)
    wanted = tuple(name for name in names if not name.startswith("-"))
    return wanted, tuple(name[1:] for name in names if name.startswith("-"))


def _parse_languages(text: str) -> tuple[str, ...]:
    names = _parse_names(text)
    if not all(name.isascii() and name.isalpha() and 2 <= len(name) <= 3 for name in names):
        raise ValueError(text)
    return names


def _parse_years(text: str) -> tuple[int | None, int | None]:
    low, dots, high = text.partition("..")
    year = _make_int_parser(FIRST_YEAR, LAST_YEAR)
    first = year(low) if low else None
    last = (year(high) if high else None) if dots else first
    if (first is None and last is None) or (first is not None and last is not None and first > last):
        raise ValueError(text)
    return first, last


def _parse_switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError(text)
    return text == "on"


def _parse_page(text: str) -> str:
    if not text or len(text) > 8_000 or not all(c.isalnum() or c in "-_" for c in text) or not text.isascii():
        raise ValueError(text)
    return text


def _parse_user(text: str) -> str:
    try:
        return check_user_id(text)
    except InvalidUserId as error:
        raise ValueError(text) from error


_ON_OFF = {"type": "string", "enum": ["on", "off"]}

PARAMETERS: dict[str, Parameter] = {
    "n": Parameter(
        f"a whole number from 1 to {MAX_LENGTH}",
        f"Number of movies; {LIST_LENGTH} by default.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LENGTH, "default": LIST_LENGTH},
        _make_int_parser(1, MAX_LENGTH),
        "10",
    ),
    "exclude": Parameter(
        f"up to {MAX_EXCLUDED} movie ids joined by commas",
        "Movies to leave out, such as those that the page shows already.",
        {"type": "string", "minLength": 1},
        _parse_movie_ids,
        "fargo+1996,brazil+1985",
    ),
    "genre": Parameter(
        "up to 30 genres joined by commas, with a minus before each that is not wanted, as in drama,-horror",
        "Each movie has one of the genres, and none of those with a minus. Some movie of the release has each genre.",
        {"type": "string", "minLength": 1},
        _parse_genres,
        "drama,-horror",
    ),
    "year": Parameter(
        f"a year from {FIRST_YEAR} to {LAST_YEAR} or a range of years, as in 1980..1999, 1980.. or ..1999",
        "Year of release.",
        {"type": "string", "minLength": 2},
        _parse_years,
        "1980..1999",
    ),
    "language": Parameter(
        "up to 30 language codes of two or three letters joined by commas, as in en,fr",
        "Original language.",
        {"type": "string", "minLength": 2},
        _parse_languages,
        "en,fr",
    ),
    "max_age": Parameter(
        "an age in years from 0 to 120",
        "The age rating of each movie is at most this; the policy says whether movies without one pass.",
        {"type": "integer", "minimum": 0, "maximum": 120},
        _make_int_parser(0, 120),
        "12",
    ),
    "max_cost": Parameter(
        "a number from 0 to 1000000000",
        "The license fee per view of each movie is at most this.",
        {"type": "number", "minimum": 0, "maximum": 1_000_000_000},
        _parse_number,
        "0.5",
    ),
    "diversity": Parameter(
        "a number from 0 to 1",
        "0 orders by score alone; the higher, the less alike the movies are.",
        {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
        _parse_fraction,
        "0.3",
    ),
    "calibrated": Parameter(
        "on or off",
        "With on, the genres of the list have the proportions of the user's history.",
        {**_ON_OFF, "default": "off"},
        _parse_switch,
        "on",
    ),
    "page": Parameter(
        "the next_page of an earlier answer, together with the same other parameters",
        "The next page of a list; no movie comes twice.",
        {"type": "string", "minLength": 1, "maxLength": 8_000},
        _parse_page,
        "",
    ),
    "profile": Parameter(
        "on or off",
        "With off, nothing is read about the user and nothing is logged: popular movies of the genres asked for.",
        {**_ON_OFF, "default": "on"},
        _parse_switch,
        "off",
    ),
    "explain": Parameter(
        f"a whole number from 0 to {MAX_REASONS}",
        "Number of reasons for each movie, in JSON: the movies of the history that add most to its score.",
        {"type": "integer", "minimum": 0, "maximum": MAX_REASONS, "default": 0},
        _make_int_parser(0, MAX_REASONS),
        "3",
    ),
    "user": Parameter(
        "a user id",
        "User whose own scores are mixed into the order of similar movies.",
        {"type": "string", "minLength": 1, "maxLength": 128},
        _parse_user,
        "42",
    ),
}
RECOMMEND_PARAMETERS = tuple(name for name in PARAMETERS if name != "user")
"""Parameters of ``GET /recommend/<user_id>``."""

SIMILAR_PARAMETERS = ("n", "exclude", "genre", "year", "language", "max_age", "max_cost", "user")
"""Parameters of ``GET /similar/<movie_id>``."""
