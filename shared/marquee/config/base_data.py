"""The base data: a directory of CSV tables that models train on and the simulator replays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import msgspec

from marquee.config.csv_file import Row, Synonyms, parse_csv
from marquee.config.opaque_ids import VALID_ID, is_valid_id
from marquee.config.plausible_values import AGE_RATINGS, AGES, MAX_COST, YEARS, is_within
from marquee.config.timestamps import EARLIEST, LATEST
from marquee.errors import TrainingDataError

LIKES_SCALE = (0.0, 1.0)
"""Rating scale of likes: 0 for a dislike, 1 for a like."""
RATINGS_FILE, USERS_FILE, MOVIES_FILE = "ratings.csv", "users.csv", "movies.csv"
IMPORT_FILE = "import.json"
"""Report of the import that wrote the directory, with the rating scale; hand-made base data have none."""
RATING_COLUMNS = ("user_id", "movie_id", "rating", "time")
# Causes for which a row is left out.
INVALID_ID, IMPLAUSIBLE_TIME = "id", "time"
CAUSES = {
    INVALID_ID: f"the id of a user or a movie is not {VALID_ID}",
    IMPLAUSIBLE_TIME: f"the time is before {EARLIEST.year} or after {LATEST.year - 1}",
}

_USER_ID = ("user", "uid", "customerid", "memberid", "viewerid", "accountid", "profileid")
_MOVIE_ID = ("itemid", "filmid", "titleid", "contentid", "productid", "movie", "item", "film")
RATING_SYNONYMS: Synonyms = {
    "user_id": _USER_ID,
    "movie_id": _MOVIE_ID,
    "rating": ("stars", "score", "ratingvalue", "userrating", "value"),
    "time": ("timestamp", "unixtimestamp", "datetime", "date", "ts", "ratedat", "createdat"),
}
SIDE_SYNONYMS: dict[str, Synonyms] = {
    "user_id": {
        "user_id": (*_USER_ID, "id"),
        "gender": ("sex",),
        "occupation": ("job", "profession"),
        "zip": ("zipcode", "postcode", "postalcode"),
    },
    "movie_id": {
        "movie_id": (*_MOVIE_ID, "id"),
        "year": ("releaseyear",),
        "genres": ("genre",),
    },
}
_WHOLE_NUMBERS = {"age": AGES, "year": YEARS}
_BOOLEANS = {
    "true": "true", "t": "true", "yes": "true", "y": "true", "1": "true", "1.0": "true",
    "false": "", "f": "", "no": "", "n": "", "0": "", "0.0": "",
}  # fmt: skip
# Unit of a number that counts from 1970, its parts of a second, and the smallest magnitude that is read so. Numbers
# below the first limit are seconds up to the year 5138, and those of each unit begin in 1973.
_UNITS = (("ns", 10**9, 10**17), ("us", 10**6, 10**14), ("ms", 10**3, 10**11), ("s", 1, 0))
ISO = "ISO 8601"
_MAX_SHOWN = 40
_EARLIEST_S, _LATEST_S = int(EARLIEST.timestamp()), int(LATEST.timestamp())


class BaseRating(NamedTuple):
    """One rating of the base data; ``time`` in whole seconds since 1970."""

    user_id: str
    movie_id: str
    rating: float
    time: int


class _Imported(msgspec.Struct):
    """The part of ``import.json`` that says how to read the ratings."""

    scale: tuple[float, float]


def read_scale(directory: Path) -> tuple[float, float] | None:
    """Return the rating scale of imported base data; None if they were not imported.

    Raises :class:`TrainingDataError` for a damaged report of the import.
    """
    path = directory / IMPORT_FILE
    if not path.is_file():
        return None
    try:
        low, high = msgspec.json.decode(path.read_bytes(), type=_Imported).scale
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{path} is no report of an import ({error}): import the data again") from error
    if not low < high:
        raise TrainingDataError(f"{path}: the scale {low:g} to {high:g} is none; import the data again")
    return low, high


def is_plausible(time: int) -> bool:
    """Return whether ``time``, in seconds since 1970, is a time that the tables and pandas can hold."""
    return _EARLIEST_S <= time < _LATEST_S


def read_ratings(
    path: Path, left_out: Counter[str] | None = None, units: Counter[str] | None = None
) -> Iterator[BaseRating]:
    """Yield the ratings of ``path`` in the order of the file.

    The table has the columns of :data:`RATING_COLUMNS`, or those of :data:`RATING_SYNONYMS`. A row with an invalid id
    or an implausible time is left out, and counted in ``left_out`` by its cause. ``units`` counts the rows by the unit
    of their time: s, ms, us, ns or ISO 8601.

    Raises :class:`TrainingDataError` if the file is absent, lacks a column or has wrong rows, or has times in several
    units.
    """
    units = Counter() if units is None else units
    examples: dict[str, str] = {}

    def parse(row: Row) -> BaseRating:
        rating = parse_rating(row["rating"])
        time, unit = parse_time(row["time"])
        units[unit] += 1
        examples.setdefault(unit, row["time"])
        return BaseRating(row["user_id"], row["movie_id"], rating, time)

    for rating in parse_csv(path, parse, RATING_COLUMNS, RATING_SYNONYMS, "ratings"):
        cause = _cause_to_leave_out(rating)
        if not cause:
            yield rating
        elif left_out is not None:
            left_out[cause] += 1
    if len(units) > 1:
        found = ", ".join(f"{count} in {unit} such as {examples[unit]}" for unit, count in units.items())
        raise TrainingDataError(
            f"{path}: the times are in several units: {found}. Use one: seconds, milliseconds, microseconds or "
            "nanoseconds since 1970, or ISO 8601"
        )


def read_side_table(path: Path, key: str, left_out: Counter[str] | None = None) -> dict[str, Row]:
    """Return the rows of ``users.csv`` (key ``user_id``) or ``movies.csv`` (``movie_id``) by their id.

    Without the file, or if it is empty, there are none. A row with an invalid id is left out and counted. Raises
    :class:`TrainingDataError` for wrong rows.
    """
    if not path.is_file() or not path.stat().st_size:
        return {}
    rows = {}
    for row in parse_csv(path, _parse_attributes, [key], SIDE_SYNONYMS[key]):
        if is_valid_id(row[key]):
            rows[row[key]] = row
        elif left_out is not None:
            left_out[INVALID_ID] += 1
    return rows


def parse_rating(text: str) -> float:
    """Return a rating; raises ``ValueError`` unless it is a finite number."""
    try:
        rating = _to_float(text)
    except ValueError:
        rating = float("nan")
    if not isfinite(rating):
        raise ValueError(f"rating {text!r} is not a number")
    return rating


def parse_time(text: str) -> tuple[int, str]:
    """Return a time in whole seconds since 1970, and its unit; raises ``ValueError`` if it is no time.

    The unit of a number follows from its magnitude. A time without a zone is in UTC.
    """
    number = _to_whole(text)
    if number is not None:
        unit, parts = next((unit, parts) for unit, parts, low in _UNITS if abs(number) >= low)
        return number // parts, unit
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"time {text!r} is neither a number since 1970 nor ISO 8601") from error
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int((time - EARLIEST).total_seconds()) + _EARLIEST_S, ISO


def earliest_fraction_end(times: Sequence[int], fraction: float) -> int:
    """Return the time that splits off the earlier ``fraction`` of ratings; those at exactly that time are later.

    Training uses ratings before it, the replay those at or after it. Times are whole seconds in ascending order. The
    order within a second is unknown, so a second is never divided.
    """
    return times[min(len(times) - 1, round(fraction * len(times)))]


def _cause_to_leave_out(rating: BaseRating) -> str:
    if not (is_valid_id(rating.user_id) and is_valid_id(rating.movie_id)):
        return INVALID_ID
    return "" if is_plausible(rating.time) else IMPLAUSIBLE_TIME


def _parse_attributes(row: Row) -> Row:
    """Normalize the attributes that are numbers or truth values; raise ``ValueError`` for an implausible one."""
    for name, limits in _WHOLE_NUMBERS.items():
        if text := row.get(name, "").strip():
            row[name] = _parse_whole(name, text, limits)
    # An age rating may also be a certificate, such as PG-13.
    text = row.get("age_rating", "").strip()
    if text and _to_whole(text) is not None:
        row["age_rating"] = _parse_whole("age_rating", text, AGE_RATINGS)
    if text := row.get("adult", "").strip():
        row["adult"] = _parse_boolean("adult", text)
    if text := row.get("cost", "").strip():
        row["cost"] = _parse_cost(text)
    return row


def _parse_whole(name: str, text: str, limits: tuple[int, int]) -> str:
    number = _to_whole(text)
    if number is None:
        raise ValueError(f"{name} {text[:_MAX_SHOWN]!r} is not a number; leave it empty if it is unknown")
    if not is_within(number, limits):
        raise ValueError(
            f"{name} {text[:_MAX_SHOWN]!r} is not from {limits[0]} to {limits[1]}; leave it empty if it is unknown"
        )
    return str(number)


def _parse_boolean(name: str, text: str) -> str:
    if text.lower() not in _BOOLEANS:
        raise ValueError(f"{name} {text[:_MAX_SHOWN]!r} is neither true nor false; leave it empty if it is unknown")
    return _BOOLEANS[text.lower()]


def _parse_cost(text: str) -> str:
    try:
        cost = _to_float(text)
    except ValueError:
        cost = -1.0
    if not is_within(cost, (0, MAX_COST)):
        raise ValueError(
            f"cost {text[:_MAX_SHOWN]!r} is not a number from 0 to {MAX_COST:g}; leave it empty if it is unknown"
        )
    return text


def _to_whole(text: str) -> int | None:
    """Return a number without its fraction, or None if ``text`` is none."""
    try:
        return int(text.replace("_", "?"))
    except ValueError:
        pass
    try:
        number = _to_float(text)
    except ValueError:
        return None
    return int(number) if isfinite(number) else None


def _to_float(text: str) -> float:
    """Return a number; raises ``ValueError`` also for the underscores of Python's literals."""
    return float(text.replace("_", "?"))
