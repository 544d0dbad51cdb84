"""MovieLens 100K is downloaded, verified, and written with the event log's movie ids."""

import csv
import re
import zipfile
from pathlib import Path

import pytest

from marquee.data import movielens
from marquee.errors import BaseDataUnavailable, SettingsError, TrainingDataError
from marquee.training.params import Params

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements/movielens.txt"
SHA256 = Params.read(ROOT / "params.yaml").movielens.sha256

WHEEL = {
    "inter": "u\ti\tr\tt\n7\t1\t3\t881250949\n8\t2\t5\t881250950\n7\t3\t1\t881250948\n",
    "user": "u\ta\tg\to\tz\n7\t24\tM\ttechnician\t85711\n8\t53\tF\tother\t94043\n",
    "item": (
        "i\tt\ty\tc\n1\tGodfather, The\t1972\tAction Drama\n"
        "2\tBody Snatchers\t1993\tHorror\n3\tBody Snatchers\t1993\tHorror\n"
    ),
}


def write_wheel(directory: Path, members: dict[str, str]) -> Path:
    path = directory / "example-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for kind, text in members.items():
            archive.writestr(f"recbole/dataset_example/ml-100k/ml-100k.{kind}", text)
    return path


def rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(content.decode().splitlines()))


def test_tables_from_wheel_ratings_are_in_time_order_with_log_ids(tmp_path: Path) -> None:
    """Ratings are sorted by time, with ids of title and year; a second movie of the same id has the year twice."""
    tables = movielens.tables_from_wheel(write_wheel(tmp_path, WHEEL))
    assert rows(tables["ratings.csv"]) == [
        ["user_id", "movie_id", "rating", "time"],
        ["7", "body+snatchers+1993+1993", "1", "881250948"],
        ["7", "the+godfather+1972", "3", "881250949"],
        ["8", "body+snatchers+1993", "5", "881250950"],
    ]
    assert rows(tables["movies.csv"])[1] == ["the+godfather+1972", "The Godfather", "1972", "Action|Drama"]
    assert rows(tables["users.csv"])[2] == ["8", "53", "F", "other", "94043"]


@pytest.mark.parametrize(
    ("title", "released", "movie_id"),
    [
        ("Fight Club", "1999", "fight+club+1999"),
        ("M*A*S*H", "1970", "m*a*s*h+1970"),
        ("Thelma & Louise", "1991", "thelma++louise+1991"),
        ("L'Avventura", "unknown", "lavventura+"),
        ("Postman, The (Postino, Il)", "1994", "the+postman+postino+il+1994"),
        ("Land Before Time III (1995)", "V", "land+before+time+iii+1995"),
        ("Cérémonie, La", "1995", "la+crmonie+1995"),
        ("Sex, Lies, and Videotape", "1989", "sex+lies+and+videotape+1989"),
    ],
)
def test_build_catalog_ids_have_the_form_of_the_log(title: str, released: str, movie_id: str) -> None:
    """Titles become ids by the rules of the event log."""
    assert movielens.build_catalog([("1", title, released, "Drama")])["1"][0] == movie_id


def test_tables_from_wheel_without_the_data_is_refused(tmp_path: Path) -> None:
    """The error names the wheel."""
    with pytest.raises(TrainingDataError, match="example-1"):
        movielens.tables_from_wheel(write_wheel(tmp_path, {"inter": "x"}))


def test_fetch_real_data_is_complete_and_well_formed(base_data: Path) -> None:
    """There are 100,000 ratings of 943 users and 1,682 movies, with distinct, well-formed ids."""
    ratings = rows((base_data / "ratings.csv").read_bytes())[1:]
    movies = rows((base_data / "movies.csv").read_bytes())[1:]
    ids = {row[0] for row in movies}
    assert (len(ratings), len({r[0] for r in ratings}), len(ids), len(movies)) == (100_000, 943, 1682, 1682)
    assert {r[1] for r in ratings} == ids
    assert all(re.fullmatch(r"[a-z0-9+_.*-]+\+(\d{4})?", movie_id) for movie_id in ids)


def test_fetch_complete_target_downloads_nothing(base_data: Path) -> None:
    """If the files exist with the right digests, nothing is downloaded."""

    def fail_on_download(requirements: Path, scratch: Path) -> Path:
        raise AssertionError("downloaded again")

    assert movielens.fetch(base_data, REQUIREMENTS, SHA256, fail_on_download) is False


def test_fetch_damaged_file_is_replaced(base_data: Path, tmp_path: Path) -> None:
    """A file with another digest is downloaded again, and no partial file remains."""
    for name in movielens.FILES:
        (tmp_path / name).write_bytes((base_data / name).read_bytes())
    with (tmp_path / "users.csv").open("ab") as users:
        users.truncate(100)
    assert movielens.fetch(tmp_path, REQUIREMENTS, SHA256) is True
    assert movielens.is_complete(tmp_path, SHA256)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(movielens.FILES)


def test_fetch_unexpected_content_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    """Content with another digest than in params.yaml is an error, and no file is written."""
    target = tmp_path / "data"
    with pytest.raises(TrainingDataError, match=r"params\.yaml expects"):
        movielens.fetch(target, REQUIREMENTS, SHA256, lambda _, scratch: write_wheel(scratch, WHEEL))
    assert list(target.iterdir()) == []


def test_fetch_registry_unavailable_gives_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to check."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(BaseDataUnavailable, match="Check the network"):
        movielens.fetch(tmp_path, REQUIREMENTS, SHA256)


def test_fetch_other_file_under_pinned_name_is_refused(tmp_path: Path, base_data: Path) -> None:
    """A wheel whose hash is not the pinned one is refused before it is opened."""
    other = tmp_path / "movielens.txt"
    other.write_text(REQUIREMENTS.read_text().replace("sha256:9c", "sha256:00"))
    with pytest.raises(TrainingDataError, match="pinned by hash"):
        movielens.fetch(tmp_path / "data", other, SHA256)


def test_fetch_outside_repository_names_missing_file(tmp_path: Path) -> None:
    """Without the requirements file or params.yaml, the error says what to do."""
    with pytest.raises(TrainingDataError, match="root of the repository"):
        movielens.fetch(tmp_path / "data", tmp_path / "none.txt", SHA256)
    with pytest.raises(SettingsError, match="--params"):
        Params.read(tmp_path / "params.yaml")
