"""Fixtures: a small stream with planted preferences, as base data and as events."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from marquee.backtest.event_stream import EventStream
from marquee.data import sources
from marquee.data.dataset import Dataset
from marquee.training.params import Params

N_USERS, N_ITEMS, N_RATINGS = 40, 30, 600


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratings of users who like even or odd movies, one a minute; a listed movie that no one has rated."""
    directory, rng = tmp_path_factory.mktemp("base"), np.random.default_rng(3)
    pairs = rng.permutation(N_USERS * N_ITEMS)[:N_RATINGS]
    lines = ["user_id,movie_id,rating,time"]
    for number, pair in enumerate(pairs.tolist()):
        user, item = divmod(pair, N_ITEMS)
        rating = int(np.clip(rng.normal(4.3 if user % 2 == item % 2 else 2.0, 0.7), 1, 5).round())
        lines.append(f"{user},film+{item}+1990,{rating},{880_000_000 + 60 * number}")
    (directory / "ratings.csv").write_text("\n".join(lines) + "\n")
    movies = ["movie_id,genres,year", *(f"film+{item}+1990,Drama,1990" for item in range(N_ITEMS + 1))]
    (directory / "movies.csv").write_text("\n".join(movies) + "\n")
    return directory


@pytest.fixture(scope="session")
def params_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parameters with the shortest trainings."""
    params = msgspec.to_builtins(Params.read(Path("params.yaml")))
    params["trainers"]["bpmf"] |= {"sweeps": 8, "burn_in": 2}
    params["trainers"]["surprise_svd"] |= {"n_epochs": 2}
    params["evaluation"]["resamples"] = 50
    params["tuning"]["budget_s"] = 0
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_bytes(msgspec.yaml.encode(params))
    return path


@pytest.fixture(scope="session")
def stream(base: Path) -> EventStream:
    """The events of the base data."""
    source = sources.read_base(base, datetime.now(UTC))
    dataset = Dataset.from_frames(source.ratings, source.watch_sessions, 1, 5, source.side_information)
    return EventStream.from_dataset(dataset)
