"""The base data, fetched once a session into the place where the program itself would look for it."""

from pathlib import Path

import pytest

from marquee.training import movielens
from marquee.training.params import Params

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def base_data() -> Path:
    """The directory that holds MovieLens 100K as CSV files."""
    target = ROOT / "data/movielens-100k"
    sha256 = Params.read(ROOT / "params.yaml").movielens.sha256
    movielens.fetch(target, ROOT / "requirements/movielens.txt", sha256)
    return target
