"""Datasets and trained models as directories of arrays, passed between pipeline steps."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from marquee.config.atomic_file import atomic_directory
from marquee.data.dataset import Dataset, Interactions
from marquee.data.deterministic_io import read_array, write_array
from marquee.registry.movie_metadata import MovieMetadata
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.scoring.level_drift import Drift

_SCALARS = "scalars.json"
_PARTS = ("ratings", "watch_sessions")
_CONTENT = "content_features.npy"
_BLOCKS = ("user_features", "item_features")


def write_dataset(directory: Path, dataset: Dataset) -> None:
    """Write ``dataset`` to ``directory`` atomically."""
    with atomic_directory(directory) as out:
        scalars = {
            "user_ids": list(dataset.user_ids),
            "movie_ids": list(dataset.movie_ids),
            "rating_min": float(dataset.rating_min),
            "rating_max": float(dataset.rating_max),
            **{name: len(getattr(dataset, name)) for name in _BLOCKS},
        }
        (out / _SCALARS).write_bytes(msgspec.json.encode(scalars))
        for part in _PARTS:
            _write_arrays(out, part, getattr(dataset, part))
        for name in _BLOCKS:
            for number, block in enumerate(getattr(dataset, name)):
                write_array(out / f"{name}.{number}.npy", block)
        if dataset.content_features is not None:
            write_array(out / _CONTENT, dataset.content_features)


def read_dataset(directory: Path) -> Dataset:
    """Read the dataset in ``directory``."""
    scalars: dict[str, Any] = msgspec.json.decode((directory / _SCALARS).read_bytes())
    for part in _PARTS:
        scalars[part] = Interactions(**_read_arrays(directory, part, Interactions))
    for name in _BLOCKS:
        scalars[name] = tuple(read_array(directory / f"{name}.{n}.npy") for n in range(scalars[name]))
    content = read_array(directory / _CONTENT) if (directory / _CONTENT).exists() else None
    return Dataset(**scalars, content_features=content)


def write_model(directory: Path, model: TrainedModel) -> None:
    """Write ``model`` to ``directory`` atomically; arrays keep every bit, scalars are JSON numbers."""
    with atomic_directory(directory) as out:
        scalars: dict[str, Any] = {}
        for name in (field.name for field in fields(TrainedModel)):
            value = getattr(model, name)
            if value is None or isinstance(value, MovieMetadata):
                continue  # Metadata are added where the artifact is written.
            if isinstance(value, Histories):
                _write_arrays(out, name, value)
            elif isinstance(value, Drift):
                scalars[name] = value
            elif isinstance(value, np.ndarray):
                write_array(out / f"{name}.npy", value)
            else:
                scalars[name] = float(value) if isinstance(value, int | float) else list(value)
        scalars["popularity_columns"] = model.popularity_columns
        (out / _SCALARS).write_bytes(msgspec.json.encode(scalars))


def read_model(directory: Path) -> TrainedModel:
    """Read the model in ``directory``."""
    values: dict[str, Any] = msgspec.json.decode((directory / _SCALARS).read_bytes())
    for name in (field.name for field in fields(TrainedModel)):
        if (directory / f"{name}.npy").exists():
            values[name] = read_array(directory / f"{name}.npy")
    values["drift"] = msgspec.convert(values["drift"], Drift)
    values["histories"] = Histories(**_read_arrays(directory, "histories", Histories))
    return TrainedModel(**values)


def _write_arrays(directory: Path, part: str, columns: Interactions | Histories) -> None:
    for field in fields(columns):
        write_array(directory / f"{part}.{field.name}.npy", getattr(columns, field.name))


def _read_arrays(directory: Path, part: str, kind: type[Any]) -> dict[str, np.ndarray]:
    return {field.name: read_array(directory / f"{part}.{field.name}.npy") for field in fields(kind)}
