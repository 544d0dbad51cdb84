"""Tests of the movies' metadata: what is read of a table, and what an artifact stores and refuses."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tests.registry.models import THROUGH, forge, make_model

from marquee.errors import ArtifactRefused
from marquee.registry.artifact import verify_artifact, write_artifact
from marquee.registry.item_store import read_items
from marquee.registry.movie_metadata import METADATA, NO_METADATA, MovieMetadata, collect_metadata
from marquee.registry.object_store.object_store import ObjectStore


def test_collect_metadata_reads_the_usual_columns() -> None:
    """Certificates become ages, adult counts as 18, and what cannot be read is unknown."""
    rows = {
        "a": {
            "title": "A",
            "year": "1994",
            "genres": "Drama|War",
            "language": "EN",
            "age_rating": "PG-13",
            "cost": ".5",
        },
        "b": {"original_language": "fr", "country": "FR", "age_rating": "12", "adult": "True", "year": "soon"},
        "c": {"adult": "False", "age_rating": "unrated", "cost": "nan"},
    }
    metadata = collect_metadata(["a", "b", "c", "d"], rows)
    assert metadata.titles == ("A", "", "", "")
    assert metadata.years == (1994, 0, 0, 0)
    assert metadata.languages == ("en", "fr", "", "")
    assert metadata.countries == ("", "fr", "", "")
    assert metadata.ages == (13, 18, -1, -1)
    assert metadata.costs == (0.5, -1, -1, -1)
    assert (metadata.genre_names(0), metadata.genre_names(1)) == (("Drama", "War"), ())
    assert (metadata.title(0), metadata.title(1), metadata.year(1)) == ("A", None, None)


def test_collect_metadata_implausible_values_are_unknown() -> None:
    """A placeholder is no year, and a fee that single precision cannot hold is none."""
    rows = [{"year": "0001", "cost": "1e300"}, {"year": "9999", "cost": "-1"}, {"year": "1994", "cost": "2"}]
    metadata = collect_metadata(["a", "b", "c"], dict(zip("abc", rows, strict=True)))
    assert (metadata.years, metadata.costs) == ((0, 0, 1994), (-1, -1, 2))


def test_collect_metadata_unknown_columns_are_empty() -> None:
    """A table without a column costs nothing in the artifact."""
    metadata = collect_metadata(["a"], {"a": {"title": "A"}})
    assert msgspec.structs.asdict(metadata) == msgspec.structs.asdict(MovieMetadata(titles=("A",)))


def test_write_artifact_stores_metadata_and_trend(file_store: ObjectStore) -> None:
    """They are read back as they were written; an artifact without them has neither, and the version of before."""
    plain = make_model()
    n_items = len(plain.movie_ids)
    metadata = MovieMetadata(titles=tuple(f"Movie {i}" for i in range(n_items)), ages=(12,) * n_items)
    trend = np.linspace(0.5, 2, n_items).astype(np.float32)
    version = write_artifact(
        file_store, replace(plain, metadata=metadata, trend=trend, popularity_columns=1), trained_through=THROUGH
    )
    factors = read_items(file_store, version)
    assert msgspec.structs.asdict(factors.metadata) == msgspec.structs.asdict(metadata)
    assert factors.trend is not None
    assert (factors.trend == trend).all()
    assert factors.manifest.popularity_columns == 1
    without = write_artifact(file_store, plain, trained_through=THROUGH)
    assert METADATA not in read_items(file_store, without).manifest.files
    assert read_items(file_store, without).metadata is NO_METADATA


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"{", "cannot be read"),
        (b'{"titles":["one"]}', "titles has 1 values, not 30 or 0"),
        (b'{"years":[%s]}' % b",".join([b"99999"] * 30), "beyond 10,000"),
        (b'{"ages":["12"]}', "cannot be read"),
    ],
)
def test_verify_artifact_malformed_metadata_are_refused(file_store: ObjectStore, document: bytes, message: str) -> None:
    """Such an artifact is never released, although its hashes are right."""
    model = make_model()
    metadata = MovieMetadata(titles=("A",) * len(model.movie_ids))
    version = write_artifact(file_store, replace(model, metadata=metadata), trained_through=THROUGH)
    forge(file_store, version, METADATA, document)
    with pytest.raises(ArtifactRefused, match=message):
        verify_artifact(file_store, version)
