"""Live RMSE on MovieLens 100K: the ratings replayed in time order through the serving code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import movielens
from benchmarks.registry import BenchmarkResult, at_most, benchmark
from marquee.backtest.backtest_jobs import SURPRISE, BacktestInputs
from marquee.backtest.backtest_plan import BacktestPlan, ServedModel
from marquee.backtest.backtest_summary import backtest
from marquee.backtest.event_stream import EventStream
from marquee.backtest.running_models import BIASES

_PARTS = Path("build/backtest/benchmark")


@benchmark("live_rmse_100k", "live_rmse_vs_biases", "live_rmse_vs_surprise")
def live_rmse() -> Iterator[BenchmarkResult]:
    """Measure from 20 % on with 16 retrainings; each rating is predicted before it is learned."""
    params, dataset = movielens.PARAMS, movielens.load().dataset
    plan = BacktestPlan(models=(ServedModel(params.trainer, params.ranker),), delays=())
    inputs = BacktestInputs(EventStream.from_dataset(dataset), plan, params, frozenset(dataset.movie_ids))
    report = backtest(inputs, _PARTS)
    rmse = {name: metrics["rmse"] for name, metrics in report.overall.metrics.items() if "rmse" in metrics}
    served, biases, surprise = (rmse[name] for name in (plan.models[0].name, BIASES, SURPRISE))
    reference = f"{report.ratings:,} ratings; 95 % of users and cuts within {served.low:.4f} to {served.high:.4f}"
    yield at_most("live_rmse_100k", served.value, "stars", 0.902, reference=reference)
    for name, other, goal, what in (
        ("live_rmse_vs_biases", biases.value, 0.941, "biases updated with each rating"),
        ("live_rmse_vs_surprise", surprise.value, 0.884, "scikit-surprise's SVD, retrained at the same cuts"),
    ):
        yield at_most(name, served.value / other, "", goal, reference=f"{what}: {other:.4f}")
