"""The EASE ranker on large catalogs: loss against the exact solution, gain over PureSVD, CPU time and memory.

The data are planted worlds with a long tail, clusters of taste and drift. Of 2,000 users the newest fifth of the
ratings is held out. The popularity terms are switched off: they are equal for all rankers.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.ranking_scale import Request, measure
from benchmarks.registry import BenchmarkResult, at_least, at_most, benchmark

_LARGE = {"n_users": 140_000, "n_ratings": 20_000_000}
_ITERATIVE = {"dense_gb": 0.0}


@benchmark("rank_5k_loss", "rank_5k_iterative_loss")
def rank_5k() -> Iterator[BenchmarkResult]:
    """Measure both ways to solve the regression at 5,000 movies, 20,000 users and about 1,100,000 ratings."""
    world = {"n_users": 20_000, "n_items": 5000, "n_ratings": 1_500_000}
    dense = measure(Request(world, exact=True)).ndcg
    iterative = measure(Request(world, {**_ITERATIVE, "head_items": 250})).ndcg["ease"]
    reference = f"solution in float64, cut to the same rank: {dense['exact']:.4f}"
    yield at_most("rank_5k_loss", dense["exact"] - dense["ease"], "NDCG@10", 0.003, reference=reference)
    yield at_most("rank_5k_iterative_loss", dense["exact"] - iterative, "NDCG@10", 0.01, reference=reference)


@benchmark("rank_27k_loss", "rank_27k_gain", "rank_27k_cpu_min", "rank_27k_gb", full=True)
def rank_27k() -> Iterator[BenchmarkResult]:
    """Measure 27,000 movies, 140,000 users and about 20,000,000 ratings."""
    result = measure(Request({**_LARGE, "n_items": 27_000}, exact=True, pure_svd=True))
    ndcg = result.ndcg
    exact = f"solution refined to float64, more passes, cut to the same rank: {ndcg['exact']:.4f}"
    yield at_most("rank_27k_loss", ndcg["exact"] - ndcg["ease"], "NDCG@10", 0.003, reference=exact)
    svd = f"PureSVD with the parameters of params.yaml: {ndcg['pure_svd']:.4f}"
    yield at_least("rank_27k_gain", ndcg["ease"] - ndcg["pure_svd"], "NDCG@10", 0.05, reference=svd)
    yield at_most("rank_27k_cpu_min", result.cpu_min, "CPU min", 10, reference="one thread, fit of the ranker")
    data = f"the process with the data only: {result.data_gb:.1f} GB"
    yield at_most("rank_27k_gb", result.gb, "GB", 6, reference=data, reference_value=result.data_gb)


@benchmark("rank_100k_loss", "rank_100k_cpu_min", "rank_100k_gb", full=True)
def rank_100k() -> Iterator[BenchmarkResult]:
    """Measure 100,000 movies, 140,000 users and about 20,000,000 ratings.

    The loss is that at 13,500 movies and 7,500,000 ratings, where the exact solution is known, with the same ratio of
    head to catalog.
    """
    smaller = {"n_users": 70_000, "n_items": 13_500, "n_ratings": 7_500_000}
    exact = measure(Request(smaller, exact=True)).ndcg["exact"]
    iterative = measure(Request(smaller, {**_ITERATIVE, "head_items": 675})).ndcg["ease"]
    reference = f"at 13,500 movies, solution in float64 cut to the same rank: {exact:.4f}"
    yield at_most("rank_100k_loss", exact - iterative, "NDCG@10", 0.01, reference=reference)
    result = measure(Request({**_LARGE, "n_items": 100_000, "clusters": 400}))
    yield at_most("rank_100k_cpu_min", result.cpu_min, "CPU min", 30, reference="one thread, fit of the ranker")
    data = f"the process with the data only: {result.data_gb:.1f} GB"
    yield at_most("rank_100k_gb", result.gb, "GB", 8, reference=data, reference_value=result.data_gb)
