"""Small data sets in the exact formats in which GroupLens publishes MovieLens."""

from __future__ import annotations

import zipfile
from pathlib import Path

_NOT_A_GENRE = "|".join("0" for _ in range(19))
ITEM_100K = (
    "1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy%20Story%20(1995)|"
    "0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    "2|Cité des enfants perdus, La (1995)|01-Jan-1995||http://us.imdb.com/x|" + _NOT_A_GENRE + "\n"
    "3|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
)
USER_100K = "1|24|M|technician|85711\n2|53|F|other|94043\n"
RATINGS_100K = "2\t1\t3\t881250949\n1\t2\t5\t891717742\n1\t3\t1\t878887116\n"

MOVIES_1M = (
    "1::Toy Story (1995)::Animation|Children's|Comedy\n"
    "2::Cité des enfants perdus, La (1995)::Adventure|Sci-Fi\n"
    "3::American President, The (1995)::Comedy|Drama|Romance\n"
)
USERS_1M = "1::F::1::10::48067\n2::M::56::16::70072\n"
RATINGS_1M = "1::2::5::978300760\n1::3::3::978302109\n2::1::4::978301968\n"

MOVIES_10M = MOVIES_1M.replace("3::American", "9000::American")
RATINGS_10M = "1::2::4.5::838985046\n1::9000::0.5::838983525\n2::1::5::868245777\n"
TAGS_10M = "15::4973::excellent!::1215184630\n"

MOVIES_CSV = (
    "movieId,title,genres\r\n"
    "1,Toy Story (1995),Adventure|Animation|Children|Comedy|Fantasy\r\n"
    '11,"American President, The (1995)",Comedy|Drama|Romance\r\n'
    '2,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Adventure|Sci-Fi\r\n'
    "171495,Cosmos,(no genres listed)\r\n"
)
RATINGS_CSV = "userId,movieId,rating,timestamp\r\n1,1,4.0,964982703\r\n1,11,0.5,964981247\r\n2,2,4.5,964982224\r\n"
LINKS_CSV = "movieId,imdbId,tmdbId\r\n1,0114709,862\r\n"
TAGS_CSV = "userId,movieId,tag,timestamp\r\n2,60756,funny,1445714994\r\n"

_CSV = {"ratings.csv": RATINGS_CSV, "movies.csv": MOVIES_CSV, "links.csv": LINKS_CSV, "tags.csv": TAGS_CSV}
_GENOME = {"genome-tags.csv": "tagId,tag\r\n1,007\r\n", "genome-scores.csv": "movieId,tagId,relevance\r\n1,1,0.029\r\n"}

FORMATS: dict[str, tuple[str, dict[str, str | bytes]]] = {
    "ml-100k": (
        "MovieLens 100K",
        {"u.data": RATINGS_100K, "u.item": ITEM_100K.encode("latin-1"), "u.user": USER_100K, "u.genre": "unknown|0\n"},
    ),
    "ml-1m": (
        "MovieLens 1M",
        {"ratings.dat": RATINGS_1M, "movies.dat": MOVIES_1M.encode("latin-1"), "users.dat": USERS_1M},
    ),
    "ml-10M100K": ("MovieLens 10M", {"ratings.dat": RATINGS_10M, "movies.dat": MOVIES_10M, "tags.dat": TAGS_10M}),
    "ml-20m": ("MovieLens 20M", {**_CSV, **_GENOME, "README.txt": "Summary\n\nThis dataset (ml-20m) describes 5-star"}),
    "ml-25m": ("MovieLens 25M", {**_CSV, **_GENOME, "README.txt": "Summary\n\nThis dataset (ml-25m) describes 5-star"}),
    "ml-32m": ("MovieLens 32M", {**_CSV, "README.txt": "Summary\n\nThis dataset (ml-32m) describes 5-star"}),
    "ml-latest-small": (
        "MovieLens latest-small",
        {**_CSV, "README.txt": "Summary\n\nThis dataset (ml-latest-small) describes 5-star"},
    ),
}


def write_movielens(directory: Path, release: str) -> Path:
    """Write a small data set as the directory of ``release``, and return it."""
    root = directory / release
    root.mkdir(parents=True)
    for name, content in FORMATS[release][1].items():
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def write_archive(directory: Path, release: str) -> Path:
    """Write the ZIP archive of ``release``, as it is downloaded, and return it."""
    path = directory / f"{release}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FORMATS[release][1].items():
            archive.writestr(f"{release}/{name}", content)
    return path
