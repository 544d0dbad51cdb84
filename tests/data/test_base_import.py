"""Import: each format of MovieLens and any table become base data, and every row is written or kept as refused."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from tests.data.movielens_files import FORMATS, write_archive, write_movielens

from marquee.cli.main import main
from marquee.config import base_data
from marquee.data import sources
from marquee.data.base_import import ImportReport
from marquee.errors import TrainingDataError
from marquee.simulate.replay import check_log_ids, split_base_data

LATE = datetime(2100, 1, 1, tzinfo=UTC)
HALF_STARS = ("ml-10M100K", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small")


def import_to(target: Path, source: Path, *options: str) -> ImportReport:
    assert main(["data", "import", str(source), "--to", str(target), *options]) == 0
    return msgspec.json.decode((target / "import.json").read_bytes(), type=ImportReport)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


@pytest.mark.parametrize("release", FORMATS)
@pytest.mark.parametrize("write_source", [write_movielens, write_archive])
def test_import_movielens_release_is_recognized_and_read_whole(
    tmp_path: Path, release: str, write_source: type
) -> None:
    """Name, scale, ratings, times and all movies are those of the files, whether unpacked or not."""
    report = import_to(tmp_path / "out", write_source(tmp_path, release))
    assert report.format == FORMATS[release][0]
    assert report.scale == ((0.5, 5.0) if release in HALF_STARS else (1.0, 5.0))
    assert (report.rows, report.ratings, report.refused, report.repeated) == (3, 3, {}, 0)
    movies = {row["movie_id"]: row for row in rows(tmp_path / "out/movies.csv")}
    assert movies["toy+story+1995"]["title"] == "Toy Story"
    assert movies["toy+story+1995"]["source_id"] == "1"
    read = sources.read_base(tmp_path / "out", LATE)
    assert len(read.ratings) == 3
    assert read.movies == set(movies)
    check_log_ids(tmp_path / "out")


def test_import_100k_original_files_give_ids_genres_and_users(tmp_path: Path) -> None:
    """Flags become genres, Latin-1 is decoded, an article moves to the front, and users keep their attributes."""
    import_to(tmp_path / "out", write_movielens(tmp_path, "ml-100k"))
    movies = rows(tmp_path / "out/movies.csv")
    assert movies[0]["genres"] == "Animation|Children's|Comedy"
    assert movies[1] == {
        "movie_id": "la+cit+des+enfants+perdus+1995",
        "title": "La Cité des enfants perdus",
        "year": "1995",
        "genres": "",
        "source_id": "2",
    }
    assert movies[2]["movie_id"] == "unknown+"
    assert rows(tmp_path / "out/users.csv")[0] == {
        "user_id": "1", "age": "24", "gender": "M", "occupation": "technician", "zip": "85711", "genres": "",
    }  # fmt: skip
    assert rows(tmp_path / "out/ratings.csv")[0] == {
        "user_id": "2", "movie_id": "toy+story+1995", "rating": "3", "time": "881250949",
    }  # fmt: skip


def test_import_1m_codes_become_words(tmp_path: Path) -> None:
    """Occupations are names; the band under 18 has its highest age, so that no rule takes it for one year."""
    import_to(tmp_path / "out", write_movielens(tmp_path, "ml-1m"))
    users = {row["user_id"]: row for row in rows(tmp_path / "out/users.csv")}
    assert (users["1"]["age"], users["1"]["occupation"]) == ("17", "K-12 student")
    assert (users["2"]["age"], users["2"]["occupation"]) == ("56", "self-employed")


def test_import_csv_release_keeps_half_stars_and_quoted_titles(tmp_path: Path) -> None:
    """Half stars stay, a quoted title is one field, and no genres are none."""
    import_to(tmp_path / "out", write_movielens(tmp_path, "ml-latest-small"))
    assert [row["rating"] for row in rows(tmp_path / "out/ratings.csv")] == ["4", "0.5", "4.5"]
    movies = {row["source_id"]: row for row in rows(tmp_path / "out/movies.csv")}
    assert movies["11"]["title"] == "The American President"
    assert movies["171495"] == {
        "movie_id": "cosmos+", "title": "Cosmos", "year": "", "genres": "", "source_id": "171495",
    }  # fmt: skip


def test_import_incomplete_movielens_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing table, a damaged archive and an archive of something else are named; nothing is written."""
    root = write_movielens(tmp_path, "ml-1m")
    (root / "movies.dat").unlink()
    damaged = write(tmp_path / "ml-25m.zip", "PK is no archive")
    for source, message in (
        (root, "movies.dat is missing"),
        (damaged, "not a complete ZIP archive"),
        (tmp_path / "x", "no "),
    ):
        assert main(["data", "import", str(source), "--to", str(tmp_path / "out")]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


MAPPED = "viewer;title id;stars;when\nanna;tt0111161;9;14.02.2026 20:15\nbob;tt0068646;0;15.02.2026 08:00\n"


@pytest.mark.parametrize(
    ("text", "options", "scale"),
    [
        (MAPPED, ["--time-format", "%d.%m.%Y %H:%M"], "0-10"),
        (MAPPED.replace(";", "::"), ["--time-format", "%d.%m.%Y %H:%M", "--separator", "::"], "0-10"),
        (MAPPED.replace(";", "\t"), ["--time-format", "%d.%m.%Y %H:%M", "--separator", "tab"], "0-10"),
        (MAPPED.replace("14.02.2026 20:15", "2026-02-14T20:15:00Z").replace("15.02.2026 08:00", "2026-02-15T08:00"),
         ["--time-format", "iso"], "0-10"),
    ],
    ids=["strptime", "two characters", "tabs", "ISO"],
)  # fmt: skip
def test_import_mapped_table_reads_names_separator_time_and_scale(
    tmp_path: Path, text: str, options: list[str], scale: str
) -> None:
    """Any names, separator and format of time give the same base data, with ids as text."""
    columns = ["--columns", "user_id=viewer,movie_id=title id,time=when", "--scale", scale]
    report = import_to(tmp_path / "out", write(tmp_path / "mine.csv", text), *columns, *options)
    assert rows(tmp_path / "out/ratings.csv") == [
        {"user_id": "anna", "movie_id": "tt0111161", "rating": "9", "time": "1771100100"},
        {"user_id": "bob", "movie_id": "tt0068646", "rating": "0", "time": "1771142400"},
    ]
    assert report.scale == base_data.read_scale(tmp_path / "out") == (0.0, 10.0)


def test_import_table_without_header_takes_numbers_of_columns(tmp_path: Path) -> None:
    """Columns are counted from 1."""
    table = write(tmp_path / "mine.tsv", "881250949\t3\tm1\tu1\n881250950\t4\tm2\tu1\n")
    report = import_to(tmp_path / "out", table, "--no-header", "--columns", "user_id=4,movie_id=3,rating=2,time=1")
    assert (report.ratings, report.users, report.movies) == (2, 1, 2)


def test_import_parquet_with_typed_columns_equals_the_csv(tmp_path: Path) -> None:
    """Whole numbers become ids without a fraction, and timestamps become seconds."""
    table = pd.DataFrame(
        {
            "customer_id": [7.0, 8.0],
            "film_id": ["a", "b"],
            "score": [4.5, 3.0],
            "rated_at": pd.to_datetime(["2026-02-14T20:15:00Z", "2026-02-15T08:00:00Z"]),
        }
    )
    table.to_parquet(tmp_path / "mine.parquet")
    movies = write(
        tmp_path / "movies.csv", "id,title,year,genres,language\na,Solaris,1972,Drama|Sci-Fi,ru\nc,New,2026,,\n"
    )
    options = ("--scale", "0.5-5", "--movies", str(movies))
    report = import_to(tmp_path / "out", tmp_path / "mine.parquet", *options)
    assert [tuple(row.values()) for row in rows(tmp_path / "out/ratings.csv")] == [
        ("7", "a", "4.5", "1771100100"),
        ("8", "b", "3", "1771142400"),
    ]
    assert (report.format, report.movies, report.listed) == ("Parquet", 2, 3)
    found = {row["movie_id"]: row for row in rows(tmp_path / "out/movies.csv")}
    assert found["a"]["language"] == "ru"
    assert set(found) == {"a", "b", "c"}


def test_import_refused_rows_are_kept_with_line_and_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each malformed row is refused for its own reason; written and refused rows add up to all rows."""
    bad = {
        "u1,m1,six,881250949": "rating",
        "u1,m1,6,881250949": "scale",
        "u1,m1,0.5,881250949": "scale",
        "u1,m1,nan,881250949": "rating",
        "u1,m1,4,yesterday": "unreadable time",
        "u1,m1,4,-99999999999": "time",
        "u1,m/1,4,881250949": "id",
        ",m1,4,881250949": "id",
        "u\udcff,m1,4,881250949": "id",
        "u1,m1,4": "fields",
        "u1,m1,4,881250949,5": "fields",
    }
    text = "\n".join(["user_id,movie_id,rating,time", "u1,m1,4,881250949", *bad, "u1,m1,2,881250950", ""])
    report = import_to(tmp_path / "out", write(tmp_path / "mine.csv", text))
    refused = rows(tmp_path / "out/refused.csv")
    assert [row["reason"] for row in refused] == list(bad.values())
    assert [int(row["line"]) for row in refused] == list(range(3, 3 + len(bad)))
    assert refused[0]["row"] == "u1,m1,six,881250949"
    assert report.rows == len(bad) + 2 == report.ratings + sum(report.refused.values())
    assert report.repeated == 1
    assert "refused: 2 rows (the rating is outside the scale)" in capsys.readouterr().out
    assert len(sources.read_base(tmp_path / "out", LATE).ratings) == 2
    options = ["--to", str(tmp_path / "out"), "--allow-refused", "0.1"]
    assert main(["data", "import", str(tmp_path / "mine.csv"), *options]) == 1


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b,c,d\n1,2,3,4\n", [], "no column that is known as user_id, movie_id, rating, time; it has a, b, c, d"),
        ("user,movie,rating,time\n1,2,3,4\n", ["--columns", "user_id=who"], "has no column who"),
        ("user,movie,time\n1,2,4\n", [], "a table of likes alone needs --scale likes"),
        ("user,movie,rating,time\n1,2,8,4\n", [], "no row could be imported (1 rows: the rating is outside the scale)"),
        ("", [], "is empty"),
    ],
)
def test_import_wrong_mapping_is_explained(
    tmp_path: Path, text: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what the table has and which option to use, and what was there before stays."""
    (tmp_path / "out").mkdir()
    write(tmp_path / "out/ratings.csv", "before")
    source = write(tmp_path / "mine.csv", text)
    assert main(["data", "import", str(source), "--to", str(tmp_path / "out"), *options]) == 1
    assert message in capsys.readouterr().err
    assert (tmp_path / "out/ratings.csv").read_text() == "before"


def test_import_likes_with_and_without_dislikes(tmp_path: Path) -> None:
    """Likes are 1 and dislikes 0 on a scale of 0 to 1; without a rating column each row is a like."""
    both = write(
        tmp_path / "both.csv", "user,movie,rating,time\na,x,like,1771100100\na,y,down,1771100101\nb,x,maybe,1\n"
    )
    report = import_to(tmp_path / "out", both, "--scale", "likes")
    assert (report.values, report.refused, report.scale) == ({"0": 1, "1": 1}, {"rating": 1}, (0.0, 1.0))
    alone = write(tmp_path / "alone.csv", "user,movie,time\na,x,1771100100\nb,y,1771100101\n")
    assert import_to(tmp_path / "out", alone, "--scale", "likes").values == {"1": 2}


def test_import_log_ids_fit_the_event_log(tmp_path: Path) -> None:
    """Users become numbers, movies end in a plus, different ids stay different, and ids.csv has the original ones."""
    text = "user,movie,rating,time\nanna,Solaris!,4,881250949\n12,solaris?,2,881250950\nanna,solaris?,1,881250951\n"
    source = write(tmp_path / "mine.csv", text)
    import_to(tmp_path / "plain", source)
    with pytest.raises(TrainingDataError, match="--log-ids"):
        check_log_ids(tmp_path / "plain")
    import_to(tmp_path / "out", source, "--log-ids")
    check_log_ids(tmp_path / "out")
    written = [(row["user_id"], row["movie_id"]) for row in rows(tmp_path / "out/ratings.csv")]
    assert len(set(written)) == 3
    assert written[1][0] == "12"
    originals = {(row["kind"], row["id"]): row["source_id"] for row in rows(tmp_path / "out/ids.csv")}
    assert originals["user", written[0][0]] == "anna"
    assert originals["movie", written[1][1]] == "solaris?"


def test_split_base_data_imported_half_stars_are_kept(tmp_path: Path) -> None:
    """The replay knows the scale and does not cut half stars off."""
    import_to(tmp_path / "out", write_movielens(tmp_path, "ml-latest-small"))
    split = split_base_data(tmp_path / "out", 1.0)
    assert split.scale == (0.5, 5.0)
    assert sorted(row.rating for row in split.later) == [0.5, 4.0, 4.5]


def test_data_check_takes_the_scale_of_the_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half stars need no option; a damaged report of the import is refused."""
    import_to(tmp_path / "out", write_movielens(tmp_path, "ml-latest-small"))
    assert main(["data", "check", str(tmp_path / "out")]) == 0
    write(tmp_path / "out/import.json", '{"scale": [5, 0.5]}')
    assert main(["data", "check", str(tmp_path / "out")]) == 1
    assert "import the data again" in capsys.readouterr().err
