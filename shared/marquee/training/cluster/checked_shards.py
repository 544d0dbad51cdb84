"""Check of a snapshot on the cluster, and its division into shards of users.

The rules are those of :mod:`marquee.training.pipeline.check_step`, as queries of Spark over the Parquet files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from marquee.config.base_data import LIKES_SCALE
from marquee.data import base_checks, deterministic_io
from marquee.data.side_information import SideInformation
from marquee.errors import TooFewRatings
from marquee.monitoring.drift import DataProfile
from marquee.registry.user_store import count_buckets
from marquee.training import snapshot_drift
from marquee.training.cluster.snapshot_parts import (
    ATTRIBUTES,
    BASE,
    LIVE,
    USERS,
    WATCH_SESSIONS,
    parquet_name,
    read_item_side,
)
from marquee.training.cluster.spark_session import Totals, sum_partitions
from marquee.training.cluster.user_shards import (
    RATING,
    WATCH_SESSION,
    Catalog,
    Shard,
    Staging,
    open_shards,
    write_shard,
)
from marquee.training.pipeline.check_step import CheckReport, describe_dropped, read_profile
from marquee.training.pipeline.pipeline_run import CHECKS_REPORT, FEATURES, SERVING_PROFILE, PipelineRun

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import DataFrame, SparkSession

_SCHEMA = "user_id string, movie_id string, value double, time long"
_EXAMPLES = 1_000
_BINS = 1 << 16
LAST = 1 << 62
"""Time after every event, in microseconds since 1970."""


def build_shards(spark: SparkSession, staging: Staging, run: PipelineRun, parts: int) -> None:
    """Check the snapshot, write up to ``parts`` shards, the catalog and the report.

    Raises :class:`TrainingDataError` as the local step ``check``.
    """
    about, movies = read_item_side(run)
    params, low, high = run.params.data, about.rating_min, about.rating_max
    base_scale = about.scale or (params.rating_min, params.base_rating_max)
    base, live, sessions = (_read(spark, staging, source) for source in (BASE, LIVE, WATCH_SESSIONS))
    _validate(base, *base_scale)
    _validate(live, low, high)
    if tuple(base_scale) != (low, high):
        unit = (high - low) / (base_scale[1] - base_scale[0])
        base = base.withColumn("value", low + (base["value"] - base_scale[0]) * unit)
    ratings = base.unionByName(live)
    movie_ids = _list_movies(ratings, sessions, movies, params.min_users_for_unlisted_movie)
    rows_by_id = [(movie_id, item) for item, movie_id in enumerate(movie_ids)]
    items = spark.createDataFrame(rows_by_id, "movie_id string, item int")
    listed = [rows.join(items, "movie_id") for rows in (ratings, sessions)]
    n_ratings, n_listed = ratings.count(), listed[0].count()
    n_users = listed[0].select("user_id").union(listed[1].select("user_id")).distinct().count()
    dropped = describe_dropped(about.left_out, n_ratings, n_ratings - n_listed, params.min_users_for_unlisted_movie)
    base_checks.refuse_too_few([], n_listed, dropped)
    buckets = count_buckets(n_users)
    catalog = Catalog(tuple(movie_ids), low, high, n_users, buckets, min(parts, buckets))
    _write_shards(spark, staging, catalog, listed)
    shards = open_shards(spark.sparkContext, staging, catalog.shards)
    profile = _profile(shards, catalog, likes=tuple(base_scale) == LIKES_SCALE)
    run.path(FEATURES).mkdir(parents=True, exist_ok=True)
    deterministic_io.write_json(run.path(FEATURES) / "catalog.json", catalog)
    serving = read_profile(run.path(SERVING_PROFILE))
    report = CheckReport(
        profile=profile,
        duplicate_ratings=n_listed - profile.ratings,
        unlisted_ratings=n_ratings - n_listed,
        drift=snapshot_drift.find_drift(serving, profile, run.params.drift),
        left_out=about.left_out,
    )
    deterministic_io.write_json(run.path(CHECKS_REPORT), report)


def read_catalog(run: PipelineRun) -> Catalog:
    """Return the catalog that :func:`build_shards` wrote."""
    return deterministic_io.read_json(run.path(FEATURES) / "catalog.json", Catalog)


def find_split_time(shards: RDD[Shard], fraction: float) -> int:
    """Return the time from which on the newest ``fraction`` of the ratings is, as ``splits.temporal_holdout``.

    It is the order statistic of all times, found by counts in ever narrower bins. Raises :class:`TooFewRatings` if one
    side would be empty.
    """
    bounds = sum_partitions(shards.map(_time_bounds))
    low, high = int(min(bounds["oldest"])), int(max(bounds["newest"]))
    first, rank = low, int(bounds["ratings"] * (1 - fraction))
    width = high - low + 1
    while width > 1:
        width = -(-width // _BINS)
        counts = sum_partitions(shards.map(partial(_count_times, low, width)))["counts"]
        before = np.concatenate([[0], np.cumsum(counts)])
        chosen = int(np.searchsorted(before, rank, side="right")) - 1
        low, rank = low + chosen * width, rank - int(before[chosen])
    if low == first:
        raise TooFewRatings(
            f"{bounds['ratings']} ratings cannot be split by time, because {1 - fraction:.0%} of them have the same "
            "time: more ratings, spread over time, are needed"
        )
    return low


def _read(spark: SparkSession, staging: Staging, source: str) -> DataFrame:
    """Return the rows of a source; none if no part was written."""
    if not staging.exists(parquet_name(source, 0)):
        return spark.createDataFrame([], _SCHEMA)
    return spark.read.schema(_SCHEMA).parquet(staging.hadoop_path(parquet_name(source, "*")))


def _validate(rows: DataFrame, low: float, high: float) -> None:
    """Raise :class:`TrainingDataError` for invalid ratings; the message is about the first thousand of them."""
    valid = rows["value"].between(low, high) & (rows["user_id"] != "") & (rows["movie_id"] != "")
    base_checks.validate_ratings(rows.filter(~valid).limit(_EXAMPLES).toPandas(), low, high)


def _list_movies(
    ratings: DataFrame, sessions: DataFrame, listed: dict[str, dict[str, str]], min_users: int
) -> list[str]:
    """Return the movies to learn from: those that are known, and those that are described."""
    from pyspark.sql import functions as f

    pairs = ratings.select("user_id", "movie_id").union(sessions.select("user_id", "movie_id"))
    counts = pairs.groupBy("movie_id").agg(f.count_distinct("user_id").alias("users")).collect()
    known = {row["movie_id"] for row in counts if row["users"] >= min_users or row["movie_id"] in listed}
    return sorted({*known, *SideInformation({}, listed).described_movies()})


def _write_shards(spark: SparkSession, staging: Staging, catalog: Catalog, listed: Sequence[DataFrame]) -> None:
    from pyspark.sql import functions as f

    kinds = []
    for kind, rows in zip((RATING, WATCH_SESSION), listed, strict=True):
        newest = f.max(f.struct("time", "value")).alias("newest")
        kept = rows.groupBy("user_id", "item").agg(newest)
        kinds.append(kept.select(f.lit(kind).alias("kind"), "user_id", "item", "newest.value", "newest.time"))
    if staging.exists(parquet_name(USERS, 0)):
        users = spark.read.parquet(staging.hadoop_path(parquet_name(USERS, "*"))).select("user_id", ATTRIBUTES)
    else:
        users = spark.createDataFrame([], f"user_id string, {ATTRIBUTES} string")
    # The same bucket as marquee.registry.user_store.user_bucket.
    number = f.conv(f.substring(f.sha2("user_id", 256), 1, 16), 16, 10).cast("decimal(20,0)")
    bucket = (number % catalog.buckets).cast("long")
    shard = f.floor(bucket * catalog.shards / catalog.buckets).cast("int")
    rows, users = (part.withColumn("shard", shard) for part in (kinds[0].union(kinds[1]), users))

    def write(key: tuple[int, ...], rows: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"shard": [int(key[0])], "users": [write_shard(staging, int(key[0]), rows, users)]})

    cogroups = rows.groupBy("shard").cogroup(users.groupBy("shard"))
    written = {row["shard"] for row in cogroups.applyInPandas(write, "shard int, users long").collect()}
    no_events = pd.DataFrame(columns=["kind", "user_id", "item", "value", "time"])
    for empty in set(range(catalog.shards)) - written:
        write_shard(staging, empty, no_events, pd.DataFrame(columns=["user_id", ATTRIBUTES]))


def _profile(shards: RDD[Shard], catalog: Catalog, *, likes: bool) -> DataProfile:
    totals = dict(sum_partitions(shards.map(_count_values)))
    newest, sessions = max(totals.pop("newest")), int(totals.pop("watch_sessions"))
    values, counts = np.array([float(name) for name in totals]), np.array(list(totals.values()))
    order = np.argsort(values)
    base_checks.refuse_too_few(values[order].tolist(), int(counts.sum()), likes=likes)
    sizes = (sessions, catalog.n_users, len(catalog.movie_ids))
    scale = catalog.rating_min, catalog.rating_max
    return snapshot_drift.profile_counts(values[order], counts[order], sizes, newest, scale)


def _count_values(shard: Shard) -> Totals:
    values, counts = np.unique(shard.ratings.values, return_counts=True)
    times = [int(part.times.max()) for part in (shard.ratings, shard.watch_sessions) if len(part)]
    by_value = {repr(value): count for value, count in zip(values.tolist(), counts.tolist(), strict=True)}
    return {**by_value, "newest": times, "watch_sessions": len(shard.watch_sessions)}


def _time_bounds(shard: Shard) -> Totals:
    times = shard.ratings.times
    known = bool(len(times))
    return {
        "ratings": len(times),
        "oldest": [int(times.min())] if known else [],
        "newest": [int(times.max())] if known else [],
    }


def _count_times(low: int, width: int, shard: Shard) -> Totals:
    bins = (shard.ratings.times - low) // width
    inside = bins[(bins >= 0) & (bins < _BINS)]
    return {"counts": np.bincount(inside, minlength=_BINS)}
