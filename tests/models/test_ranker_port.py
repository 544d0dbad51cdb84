"""Rankers are chosen by name: from ``params.yaml`` through the registry to the served scores."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.support.synthetic_data import blocks, dataset

from marquee.data.interactions import WeightedInteractions
from marquee.errors import SettingsError
from marquee.models import ranker_port
from marquee.models.popularity import Popularity
from marquee.models.ranker_port import RANKERS, RankingFactors, describe_method, load_ranker
from marquee.registry.artifact import write_artifact
from marquee.registry.object_store.connect import connect
from marquee.serving.engine import Engine
from marquee.serving.user_state import build_user_state
from marquee.training.params import Params
from marquee.training.train_model import train_model

ROOT = Path(__file__).parents[2]
PARAMS = Params.read(ROOT / "params.yaml")
QUICK = msgspec.structs.replace(
    PARAMS,
    trainer="surprise_svd",
    trainers={"surprise_svd": {**PARAMS.trainers["surprise_svd"], "n_epochs": 1}},
)


def fit_by_row(
    interactions: WeightedInteractions,
    shape: tuple[int, int],
    popularity: Popularity,
    params: Mapping[str, Any],
    seed: int,
) -> RankingFactors:
    """Rank the items by their row number, the highest first, times ``scale``."""
    assert len(interactions.users)
    assert len(popularity.recent) == shape[1]
    assert seed == QUICK.seed
    items = np.arange(shape[1], dtype=np.float64)[:, None] * params["scale"]
    return RankingFactors(np.ones_like(items), items)


def test_ranker_added_to_registry_is_trained_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new module and one line in the registry suffice: the served list is in the order of the new ranker."""
    module = ModuleType("ranker_by_row")
    vars(module)["fit"] = fit_by_row
    monkeypatch.setitem(sys.modules, "ranker_by_row", module)
    monkeypatch.setitem(ranker_port.RANKERS, "by_row", "ranker_by_row")
    params = msgspec.structs.replace(QUICK, ranker="by_row", rankers={"by_row": {"scale": 2.0}})
    data = dataset(blocks())
    store = connect((tmp_path / "objects").as_uri())
    trained_through = datetime(2026, 1, 1, tzinfo=UTC)
    version = write_artifact(store, train_model(data, params), trained_through=trained_through)
    engine = Engine.load(store, version)
    state = build_user_state(engine.item_factors, engine.read_record(data.user_ids[0]), None)
    _, recommended = engine.recommend(state, 5)
    seen = data.ratings.items[data.ratings.users == 0]
    expected = [m for i, m in enumerate(data.movie_ids) if i not in seen][::-1][:5]
    assert [item.movie_id for item in recommended] == expected


@pytest.mark.parametrize(
    ("dense_gb", "method"),
    [
        (4.0, "ease: dense float32 inverse, rank 64"),
        (0.0, "ease: conjugate gradients with a dense head of 5000 movies, rank 64"),
    ],
)
def test_train_model_logs_the_method(caplog: pytest.LogCaptureFixture, dense_gb: float, method: str) -> None:
    """The log says how the ranking model was fitted, in the words of the manifest."""
    data = dataset(blocks())
    section = {**PARAMS.rankers["ease"], "dense_gb": dense_gb}
    assert describe_method("ease", section, data.n_items) == method
    with caplog.at_level(logging.INFO, "marquee"):
        train_model(data, msgspec.structs.replace(QUICK, ranker="ease", rankers={"ease": section}))
    assert f"ranking {data.n_items} movies with {method}" in caplog.text


@pytest.mark.parametrize(("n_items", "dense"), [(27_000, True), (31_622, True), (31_623, False), (100_000, False)])
def test_describe_method_depends_on_the_memory_bound(n_items: int, dense: bool) -> None:
    """As configured, catalogs of up to 31,622 movies have a dense inverse; no catalog gets another ranker."""
    assert describe_method("ease", PARAMS.rankers["ease"], n_items).startswith("ease: dense" if dense else "ease: conj")
    assert describe_method("pure_svd", PARAMS.rankers["pure_svd"], n_items) == "pure_svd"


def test_load_ranker_unknown_name_lists_known_names() -> None:
    """The error names the rankers that exist."""
    with pytest.raises(SettingsError, match=rf"'magic'; there is {', '.join(sorted(RANKERS))}"):
        load_ranker("magic")


def test_ranker_unknown_parameter_is_refused() -> None:
    """The error names the section and the wrong parameter."""
    sections = {"ease": {**PARAMS.rankers["ease"], "rigde": 3}}
    with pytest.raises(SettingsError, match=r"rankers\.ease.*rigde"):
        train_model(dataset(blocks()), msgspec.structs.replace(QUICK, rankers=sections))


def test_params_ranker_without_section_is_refused(tmp_path: Path) -> None:
    """A ranker without parameters is an error before any training."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("ranker: ease", "ranker: magic"))
    with pytest.raises(SettingsError, match="'magic' has no section under rankers"):
        Params.read(path)
