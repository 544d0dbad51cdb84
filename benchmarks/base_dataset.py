"""Base data as a dataset, with the side information that params.yaml names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from marquee.data import interaction_frames, movielens, sources
from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation
from marquee.training.params import Params

MOVIELENS, REQUIREMENTS = Path("data/movielens-100k"), Path("requirements/movielens.txt")


def read_dataset(params: Params, directory: Path | None = None) -> tuple[Dataset, SideInformation]:
    """Read the base data in ``directory``; without one, MovieLens 100K, which is downloaded if it does not exist."""
    if directory is None:
        movielens.fetch(MOVIELENS, REQUIREMENTS, params.movielens.sha256)
    base = sources.read_base(directory or MOVIELENS, datetime.now(UTC))
    dataset = Dataset.from_frames(
        base.ratings,
        interaction_frames.empty_interactions(),
        params.data.rating_min,
        params.data.base_rating_max,
        base.side_information,
        params.data.user_attributes,
    )
    return dataset, base.side_information
