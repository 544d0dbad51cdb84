"""Trainer beyond one machine: ALS of Apache Spark, on the cluster that ``master`` names.

Alternating least squares with a ridge that grows with a row's number of ratings (Zhou, Wilkinson, Schreiber and Pan,
"Large-scale Parallel Collaborative Filtering for the Netflix Prize", AAIM 2008). Spark's ALS has no biases, so it
factorizes the residuals of the bias model. The result has the form of every other trainer's.

Needs the extra ``spark`` (docs/retraining.md). The order of floating-point sums depends on the partitions: equal
bits need the same number of partitions, and Spark does not promise them.
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
from marquee.models.biases import Biases, fit_biases
from marquee.models.matrix_factorization import MatrixFactorization, to_rating_factors
from marquee.models.trainer_port import ProgressCallback, RatingFactors, read_section

if TYPE_CHECKING:
    from pyspark.ml.recommendation import ALSModel
    from pyspark.sql import DataFrame, SparkSession


class SparkParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of Spark and its ALS.

    - ``master``: URL of the cluster, or ``local[n]``
    - ``factors``, ``iterations``, ``regularisation``: of ALS
    - ``blocks``: blocks into which users and items are divided, each held by one worker
    - ``config``: more Spark settings, by name
    """

    master: str
    factors: int
    iterations: int
    regularisation: float
    blocks: int
    config: dict[str, str] = {}


def fit(dataset: Dataset, params: Mapping[str, Any], seed: int, progress: ProgressCallback) -> RatingFactors:
    """Fit the biases, factorize the residuals with Spark, and return both together.

    Raises :class:`SettingsError` if pyspark or Java is missing.
    """
    section = read_section(params, SparkParams, "trainers.spark_als")
    biases = fit_biases(dataset)
    progress("fit", 0.0)
    with open_session(section) as spark:
        residuals = _residuals(spark, dataset, biases, section.blocks)
        (users, user_vectors), (items, item_vectors) = _factorize(residuals, section, seed)
    progress("fit", 1.0)
    factorization = MatrixFactorization(
        biases.mean,
        users,
        user_vectors,
        biases.user_biases[users],
        items,
        item_vectors,
        biases.item_biases[items],
    )
    return to_rating_factors(factorization, dataset)


@contextmanager
def open_session(params: SparkParams) -> Iterator[SparkSession]:
    """Open a Spark session for the block. Raises :class:`SettingsError` if pyspark or Java is missing."""
    _check_installation()
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("marquee").master(params.master)
    for name, value in (_default_settings(params.master) | params.config).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        spark.sparkContext.setLogLevel("ERROR")
        yield spark
    finally:
        spark.stop()


def _default_settings(master: str) -> dict[str, str]:
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }
    if master.startswith("local"):  # Loopback only: no other machine has to connect.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        settings |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    return settings


def _check_installation() -> None:
    if find_spec("pyspark") is None:
        raise SettingsError("engine: spark needs pyspark: install requirements/spark.txt (`make .venv/.spark`)")
    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        raise SettingsError("engine: spark needs Java 17 or 21: install it, or set JAVA_HOME to its directory")


def _residuals(spark: SparkSession, dataset: Dataset, biases: Biases, partitions: int) -> DataFrame:
    """Return rows of user, item and the residual of the bias model."""
    ratings = dataset.ratings
    residuals = ratings.values - biases.predict(ratings.users, ratings.items)
    frame = pd.DataFrame({"user": ratings.users, "item": ratings.items, "rating": residuals.astype(np.float32)})
    return spark.createDataFrame(frame).repartition(partitions, "user").sortWithinPartitions("user", "item")


_Factors = tuple[np.ndarray, np.ndarray]  # row numbers [n], in order, and vectors [n, factors]


def _factorize(residuals: DataFrame, params: SparkParams, seed: int) -> tuple[_Factors, _Factors]:
    """Return the factors of the users and of the items."""
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
    return _collect(model.userFactors), _collect(model.itemFactors)


def _collect(factors: DataFrame) -> _Factors:
    table = factors.toPandas().sort_values("id")
    return table["id"].to_numpy(np.int64), np.stack(table["features"].to_numpy()).astype(np.float64)
