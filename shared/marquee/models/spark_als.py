"""Beyond one machine: the rating head by Spark's ALS, on whatever cluster ``master`` names.

Alternating least squares with a ridge that grows with a row's ratings (Zhou, Wilkinson, Schreiber and Pan,
"Large-scale Parallel Collaborative Filtering for the Netflix Prize", AAIM 2008), of what the biases leave of
the ratings: ALS itself has none. What comes out is the same head as any other trainer's.

Needs the extra ``spark`` (docs/retraining.md). Its partitions decide in which order numbers are summed, so that
the same bits come again only on the same number of partitions, and no engine promises it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd

from marquee.data.dataset import Dataset
from marquee.errors import SettingsError
from marquee.models import biases
from marquee.models.matrix_factorization import MatrixFactorization, to_rating_factors
from marquee.models.trainer_port import Progress, RatingFactors, read_section

if TYPE_CHECKING:
    from pyspark.ml.recommendation import ALSModel
    from pyspark.sql import DataFrame, SparkSession


class SparkParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``master``: the cluster's URL, or ``local[n]``. ``factors``, ``iterations``, ``regularisation`` of ALS;
    ``blocks``: pieces into which users and items are cut, each held by one worker. ``config``: more of Spark's own
    settings, by their names.
    """

    master: str
    factors: int
    iterations: int
    regularisation: float
    blocks: int
    config: dict[str, str] = {}


def train(dataset: Dataset, params: Mapping[str, Any], seed: int, progress: Progress) -> RatingFactors:
    """Take the biases out, let Spark factorise the rest, put both together."""
    chosen = read_section(params, SparkParams, "spark_als")
    found = biases.fit_biases(dataset)
    progress("fit", 0.0)
    with session(chosen) as spark:
        factors = _factorised(_residuals(spark, dataset, found, chosen.blocks), chosen, seed)
    progress("fit", 1.0)
    users, user_vectors = factors["user"]
    items, item_vectors = factors["item"]
    whole = MatrixFactorization(
        found.mean, users, user_vectors, found.of_user[users], items, item_vectors, found.of_item[items]
    )
    return to_rating_factors(whole, dataset)


@contextmanager
def session(params: SparkParams) -> Iterator[SparkSession]:
    """A session that ends with the block. Raises :class:`SettingsError` where there is no Spark or no Java."""
    _require()
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("marquee").master(params.master)
    for name, value in (_settings(params.master) | params.config).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        spark.sparkContext.setLogLevel("ERROR")
        yield spark
    finally:
        spark.stop()


def _settings(master: str) -> dict[str, str]:
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }
    if master.startswith("local"):  # Nobody else has to reach it.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        settings |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    return settings


def _require() -> None:
    if find_spec("pyspark") is None:
        raise SettingsError(
            "engine: spark needs pyspark: install requirements/spark.txt (`make .venv/.spark`)"
        )
    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        raise SettingsError("engine: spark needs Java 17 or 21: install it, or set JAVA_HOME to where it is")


def _residuals(spark: SparkSession, dataset: Dataset, found: biases.Biases, partitions: int) -> DataFrame:
    """Rows of user, item and what the biases leave of the rating."""
    ratings = dataset.ratings
    left = ratings.values - found.predict(ratings.users, ratings.items)
    frame = pd.DataFrame({"user": ratings.users, "item": ratings.items, "rating": left.astype(np.float32)})
    return spark.createDataFrame(frame).repartition(partitions, "user").sortWithinPartitions("user", "item")


def _factorised(
    residuals: DataFrame, params: SparkParams, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """ "user" and "item" -> row numbers [n], in order, and vectors [n, factors]."""
    from pyspark.ml.recommendation import ALS

    als = ALS(
        rank=params.factors,
        maxIter=params.iterations,
        regParam=params.regularisation,
        numUserBlocks=params.blocks,
        numItemBlocks=params.blocks,
        seed=seed,
        finalStorageLevel="MEMORY_ONLY",
    )
    model: ALSModel = als.fit(residuals)
    return {"user": _vectors(model.userFactors), "item": _vectors(model.itemFactors)}


def _vectors(factors: DataFrame) -> tuple[np.ndarray, np.ndarray]:
    table = factors.toPandas().sort_values("id")
    return table["id"].to_numpy(np.int64), np.stack(table["features"].to_numpy()).astype(np.float64)
