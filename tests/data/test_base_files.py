"""Base data as people have them: each variant is read, or refused with file, line and first wrong rows."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.synthetic_data import SECOND

from marquee.config import base_data
from marquee.data import sources
from marquee.errors import TrainingDataError
from marquee.registry.movie_metadata import collect_metadata

LATE = datetime(2100, 1, 1, tzinfo=UTC)
PAIRS = [(u, i, 5 if (u + i) % 2 else 1, 1_000_000_000 + 7 * u + i) for u in range(1, 9) for i in range(1, 9)]


def ratings(head: str = "user_id,movie_id,rating,time", separator: str = ",", shift: float = 0, unit: int = 1) -> str:
    """Return ``ratings.csv``, ordered by time."""
    rows = [f"{u},film+{i}+1990,{r + shift:g},{t * unit}" for u, i, r, t in sorted(PAIRS, key=lambda p: p[3])]
    return "\n".join([head, *rows, ""]).replace(",", separator)


USERS = "user_id,age,gender,occupation,zip\n" + "".join(
    f"{u},{20 + u},{'MF'[u % 2]},student,1{u:04}\n" for u in range(1, 9)
)
MOVIES = "movie_id,title,year,genres\n" + "".join(f"film+{i}+1990,Film {i},1990,Drama|Comedy\n" for i in range(1, 9))
BOM = "\ufeff"

READ: dict[str, dict[str, str | bytes]] = {
    "sound": {},
    "movies with a BOM": {"movies.csv": BOM + MOVIES},
    "users with a BOM": {"users.csv": BOM + USERS},
    "ratings with a BOM": {"ratings.csv": BOM + ratings()},
    "CRLF": {"movies.csv": MOVIES.replace("\n", "\r\n"), "ratings.csv": ratings().replace("\n", "\r\n")},
    "movieId in movies": {"movies.csv": MOVIES.replace("movie_id,", "movieId,")},
    "MovieLens header": {"ratings.csv": ratings("userId,movieId,rating,timestamp")},
    "capitals and item_id": {"ratings.csv": ratings("User-ID,item_id,Rating,Timestamp")},
    "semicolons": {"ratings.csv": ratings(separator=";")},
    "tabs": {"ratings.csv": ratings(separator="\t")},
    "blank lines": {"ratings.csv": ratings() + "\n\n"},
    "milliseconds": {"ratings.csv": ratings(unit=10**3)},
    "microseconds": {"ratings.csv": ratings(unit=10**6)},
    "nanoseconds": {"ratings.csv": ratings(unit=10**9)},
    "age 31.0": {"users.csv": USERS.replace(",M,", ".0,M,").replace(",F,", ".0,F,")},
    "unused columns": {"users.csv": USERS.replace("\n", ",x\n").replace("zip,x", "zip,note")},
}


@pytest.mark.parametrize("files", READ.values(), ids=READ)
def test_read_base_usual_variants_equal_the_sound_files(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    """Byte order marks, separators, header synonyms and units of time change nothing."""
    sound, variant = read(tmp_path / "sound", {}), read(tmp_path / "variant", files)
    assert variant.ratings.equals(sound.ratings)
    assert variant.movies == sound.movies
    assert variant.side_information.user_blocks(["1", "2"])[0].tolist() == (
        sound.side_information.user_blocks(["1", "2"])[0].tolist()
    )
    assert variant.left_out == {}


REFUSED: dict[str, tuple[dict[str, str | bytes], str]] = {
    "movies in Latin-1": (
        {"movies.csv": MOVIES.replace("Film 3,", "Amélie 3,").encode("latin-1")},
        r"movies\.csv is not UTF-8: line 4 is 'film\+3\+1990,Amélie 3,.*iconv",
    ),
    "ratings in Latin-1": (
        {"ratings.csv": ratings().replace("film+3+", "amélie+3+").encode("latin-1")},
        r"ratings\.csv is not UTF-8: line 4 is '1,amélie",
    ),
    "UTF-16": ({"movies.csv": MOVIES.encode("utf-16")}, r"movies\.csv is not UTF-8: line 1"),
    "title with a bare comma": (
        {"movies.csv": MOVIES.replace("Film 3,", "Godfather, The,")},
        r"movies\.csv: 1 of 8 rows are unreadable \(the first: line 4: 5 fields where the header has 4: 'film\+3",
    ),
    "short row in movies": (
        {"movies.csv": MOVIES.replace("Film 3,1990,Drama|Comedy", "Film 3")},
        r"movies\.csv: 1 of 8 rows .*line 4: 2 fields where the header has 4",
    ),
    "short row in users": (
        {"users.csv": USERS.replace("4,24,M,student,10004", "4,24")},
        r"users\.csv: 1 of 8 rows .*line 5: 2 fields where the header has 5",
    ),
    "NUL in movies": ({"movies.csv": MOVIES.replace("Film 3", "Film\0 3")}, r"movies\.csv.*line 4"),
    "age superscript": (
        {"users.csv": USERS.replace("4,24,", "4,²,")},
        r"users\.csv: 1 of 8.*line 5: age '²' is not a",
    ),
    **{
        f"age {age}": (
            {"users.csv": USERS.replace("4,24,", f"4,{age},")},
            rf"users\.csv: 1 of 8.*line 5: age '{age}' is {why}",
        )
        for age, why in (("-3", "not from 1 to 130"), ("0", "not from"), ("999", "not from"), ("2_4", "not a number"))
    },
    **{
        f"{column} {value}": (
            {"movies.csv": MOVIES.replace("genres", column).replace("Drama|Comedy", value)},
            rf"movies\.csv: 8 of 8.*line 2: {column} '{value}' is {why}; leave it empty if it is unknown",
        )
        for column, value, why in (
            ("age_rating", "-18", "not from 0 to 99"),
            ("adult", "perhaps", "neither true nor false"),
            ("cost", "-0.1", r"not a number from 0 to 1e\+06"),
            ("cost", "nan", "not a number.*"),
            ("cost", "1e300", "not a number.*"),
        )
    },
    "year 19900": ({"movies.csv": MOVIES.replace(",1990,", ",19900,")}, "8 of 8.*'19900' is not from 1870 to 2200"),
    "year 0": ({"movies.csv": MOVIES.replace(",1990,", ",0,")}, "8 of 8 .*year '0' is not from"),
    "no key in movies": (
        {"movies.csv": MOVIES.replace("movie_id", "code")},
        r"movies\.csv has no column movie_id; .*it has code, title, year, genres",
    ),
    "empty ratings": ({"ratings.csv": ""}, r"no column user_id, movie_id, rating, time; .*it is empty"),
    "foreign header": (
        {"ratings.csv": ratings("user,what,how,when")},
        r"has no column movie_id, rating, time; it needs .*; it has user_id, what, how, when",
    ),
    "NaN rating": (
        {"ratings.csv": ratings() + "3,film+1+1990,NaN,1005000000\n"},
        r"1 of 65 ratings are unreadable \(the first: line 66: rating 'NaN' is not a number",
    ),
    "empty rating": (
        {"ratings.csv": ratings() + "3,film+1+1990,,1005000000\n"},
        r"line 66: rating '' is not",
    ),
    "text rating": ({"ratings.csv": ratings() + "3,film+1+1990,five,5\n"}, r"line 66: rating 'five' is not"),
    "rating 1_0": ({"ratings.csv": ratings() + "3,film+1+1990,1_0,5\n"}, r"line 66: rating '1_0' is not a number"),
    "empty time": ({"ratings.csv": ratings() + "3,film+1+1990,4,\n"}, r"line 66: time '' is neither"),
    "two units": (
        {"ratings.csv": ratings() + "3,film+1+1990,4,2001-09-09T01:46:40\n"},
        r"several units: 64 in s such as 1000000008, 1 in ISO 8601 such as 2001",
    ),
}


@pytest.mark.parametrize(("files", "message"), REFUSED.values(), ids=REFUSED)
def test_read_base_unreadable_variants_are_refused_with_the_row(
    tmp_path: Path, files: dict[str, str | bytes], message: str
) -> None:
    """The sentence names the file, the line and what is wrong with it."""
    with pytest.raises(TrainingDataError, match=message):
        read(tmp_path / "variant", files)


@pytest.mark.parametrize(
    ("column", "text", "age"),
    [
        ("adult", "1.0", 18),
        ("adult", "Yes", 18),
        ("adult", "0", -1),
        ("age_rating", "16.0", 16),
        ("age_rating", "R", 17),
    ],
)
def test_read_base_age_of_movies_is_read_as_tables_have_it(tmp_path: Path, column: str, text: str, age: int) -> None:
    """A table with gaps has 16.0 for 16, and 1.0 for true: no movie loses its age rating by that."""
    files: dict[str, str | bytes] = {"movies.csv": MOVIES.replace("genres", column).replace("Drama|Comedy", text)}
    data = read(tmp_path / "variant", files)
    found = collect_metadata(["film+1+1990"], data.side_information.movies).ages
    assert (found or (-1,)) == (age,)


def test_read_base_header_only_or_empty_movies_are_no_rows(tmp_path: Path) -> None:
    """Tables without rows are read."""
    files: dict[str, str | bytes] = {"ratings.csv": "user_id,movie_id,rating,time\n", "movies.csv": ""}
    data = read(tmp_path / "variant", files)
    assert (len(data.ratings), data.movies) == (0, frozenset())


def test_read_base_words_for_nothing_are_ids(tmp_path: Path) -> None:
    """The user ``null`` and the movie ``NA`` are ids as any other."""
    data = read(tmp_path / "variant", {"ratings.csv": ratings() + "null,NA,4,1005000000\n"})
    last = data.ratings.iloc[-1]
    assert (last["user_id"], last["movie_id"], last["time"]) == ("null", "NA", 1_005_000_000 * SECOND)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("1,film+1+1990,4,-9300000000", "time"),
        ("1,film+1+1990,4,9300000000", "time"),
        ("1,film/1,4,1005000000", "id"),
        ("bad\x07bell,film+1+1990,4,1005000000", "id"),
        (f"{'u' * 129},film+1+1990,4,1005000000", "id"),
        (",film+1+1990,4,1005000000", "id"),
    ],
)
def test_read_base_row_that_nothing_can_serve_is_left_out(tmp_path: Path, row: str, cause: str) -> None:
    """A year outside 1678 to 2261, and an id that a request cannot name, are counted and left out."""
    data = read(tmp_path / "variant", {"ratings.csv": ratings() + row + "\n"})
    assert data.left_out == {f"ratings.csv: {cause}": 1}
    assert len(data.ratings) == len(PAIRS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0, "s")),
        ("964982703", (964_982_703, "s")),
        ("964982703.75", (964_982_703, "s")),
        ("-86400", (-86_400, "s")),
        ("964982703123", (964_982_703, "ms")),
        ("964982703123456", (964_982_703, "us")),
        ("964982703123456789", (964_982_703, "ns")),
        ("2000-07-30T18:45:03", (964_982_703, base_data.ISO)),
        ("2000-07-30 18:45:03Z", (964_982_703, base_data.ISO)),
        ("2000-07-30T20:45:03.9+02:00", (964_982_703, base_data.ISO)),
        ("0001-01-01T00:00:00", (-62_135_596_800, base_data.ISO)),
    ],
)
def test_parse_time_unit_follows_from_the_magnitude(text: str, expected: tuple[int, str]) -> None:
    """A number since 1970 is in the unit that puts it near the present; text is ISO 8601."""
    assert base_data.parse_time(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "nan", "inf", "12/31/2001"])
def test_parse_time_anything_else_is_an_error(text: str) -> None:
    """A text that is no time is named."""
    with pytest.raises(ValueError, match="is neither a number since 1970 nor ISO 8601"):
        base_data.parse_time(text)


def test_read_ratings_counts_units(tmp_path: Path) -> None:
    """The unit of the times is reported."""
    path = tmp_path / "ratings.csv"
    path.write_text(ratings(unit=1000))
    units: Counter[str] = Counter()
    assert len(list(base_data.read_ratings(path, units=units))) == len(PAIRS)
    assert units == {"ms": len(PAIRS)}


def test_read_base_takes_24_bytes_a_rating(tmp_path: Path) -> None:
    """Ids are encoded, so that a rating takes 24 bytes, and 120 at the peak of reading 200,000."""
    n = 200_000
    rows = "".join(f"{k % 1000},film+with+a+long+title+{k // 1000:04}+1990,{k % 5 + 1},{k}\n" for k in range(n))
    (tmp_path / "ratings.csv").write_text("user_id,movie_id,rating,time\n" + rows)
    tracemalloc.start()
    try:
        frame = sources.read_base(tmp_path, LATE).ratings
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    ids = 1000 * 200
    assert len(frame) == n
    assert frame.memory_usage(deep=True).sum() <= 24 * n + ids
    assert peak < 120 * n + 2 * ids


def read(directory: Path, files: dict[str, str | bytes]) -> sources.SourceData:
    """Write base data with these files instead of the sound ones, and read them."""
    directory.mkdir()
    for name, content in ({"ratings.csv": ratings(), "users.csv": USERS, "movies.csv": MOVIES} | files).items():
        (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return sources.read_base(directory, LATE)
