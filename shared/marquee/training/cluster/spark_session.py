"""Spark session of a run, and the sum of what the partitions return."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from marquee.errors import SettingsError

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import SparkSession

Totals = Mapping[str, Any]
"""Arrays and numbers by name, which are added by name."""


class SparkParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``engine: spark``.

    - ``master``: URL of the cluster, or ``local[n]``; under ``spark-submit`` the cluster is the one that it names
    - ``shards``: parts into which the users are divided; the data of one part must fit into a worker's memory
    - ``factors``, ``iterations``: of the rating model
    - ``config``: more Spark settings, by name
    """

    master: str
    shards: int
    factors: int
    iterations: int
    config: dict[str, str] = {}


@contextmanager
def open_session(params: SparkParams) -> Iterator[SparkSession]:
    """Open a Spark session for the block. Raises :class:`SettingsError` if pyspark or Java is missing."""
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        _check_installation()
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("marquee")
    if not submitted:
        builder = builder.master(params.master)
    for name, value in (_default_settings(params, submitted) | params.config).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        spark.sparkContext.setLogLevel("ERROR")
        yield spark
    finally:
        spark.stop()


def sum_partitions(values: RDD[Totals]) -> Totals:
    """Return the sum of the totals, added on the workers, so that the driver receives it once."""
    return dict(values.map(lambda totals: (0, totals)).reduceByKey(add_totals, 1).collect()[0][1])


def add_totals(first: Totals, second: Totals) -> Totals:
    """Return the sums by name; a name that one side lacks counts as 0 there."""
    added = dict(first)
    for name, value in second.items():
        added[name] = added[name] + value if name in added else value
    return added


def _default_settings(params: SparkParams, submitted: bool) -> dict[str, str]:
    settings = {
        "spark.sql.shuffle.partitions": str(params.shards),
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.session.timeZone": "UTC",
    }
    if submitted or not params.master.startswith("local"):
        return settings
    # Loopback only: no other machine has to connect.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spec = find_spec("pyspark")
    if spec is not None and spec.origin:  # The workers of `local-cluster` find Spark there.
        os.environ.setdefault("SPARK_HOME", str(Path(spec.origin).parent))
    return settings | {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
    }


def _check_installation() -> None:
    if find_spec("pyspark") is None:
        raise SettingsError("engine: spark needs pyspark: install requirements/spark.txt (`make .venv/.spark`)")
    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        raise SettingsError("engine: spark needs Java 17 or 21: install it, or set JAVA_HOME to its directory")
