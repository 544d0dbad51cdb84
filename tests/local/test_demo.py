"""What the demo shows and how it judges itself, on figures made by hand."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from rich.console import Console

from marquee.evaluation.streaming_bootstrap import Accuracy
from marquee.local.demo_summary import DemoOutcome, summary
from marquee.local.display import Display, line
from marquee.local.live_stats import LiveStats
from marquee.local.reconciliation import PartitionReconciliation, Reconciliation
from marquee.local.scheduler import JobRun
from marquee.local.state_dir import PartState
from marquee.registry.manifest import Metric
from marquee.simulate.report import PartitionReport, ResponseTimes, SimulationReport

NOW = datetime(2026, 1, 5, tzinfo=UTC)
RETRAINED = JobRun(NOW, NOW, 0)


def report(**more: object) -> SimulationReport:
    made = SimulationReport(
        mode="replay",
        seed=1,
        started=NOW,
        updated=NOW,
        finished=True,
        acknowledged=2_000,
        partitions={"0": PartitionReport(0, 1_499, 1_500), "1": PartitionReport(0, 499, 500)},
        requests={"200": 30},
        response_ms=ResponseTimes(30, 5.0, 4.0, 8.0, 12.0, 12.0, 12.0),
        lines_per_second=1580.4,
    )
    return msgspec.structs.replace(made, **more)


def score(**more: object) -> LiveStats:
    made = LiveStats(
        report=report(),
        rows=1_990,
        quarantine={"minute": 1, "time": 2},
        tiers={"personalised": 29, "popular": 1},
        versions={"v1": 20, "v2": 10},
        release_number=2,
        serving=("v2",),
        retrains=(RETRAINED,),
        accuracy=Accuracy(1_234, Metric(0.95, 0.91, 1.0), Metric(0.7, 0.6, 0.8)),
    )
    return replace(made, **more)  # type: ignore[arg-type]


GOOD = Reconciliation(
    {0: PartitionReconciliation(1_500, 1_500, 1_500), 1: PartitionReconciliation(500, 500, 500)}
)


def outcome(**more: object) -> DemoOutcome:
    return replace(DemoOutcome(score(), GOOD, report(), retrain_due=True), **more)  # type: ignore[arg-type]


def test_the_line() -> None:
    """One line of plain text holds all of it."""
    assert line(score(), 61.2) == (
        "   61 s | lines in 2,000 (1,580/s) | rows written 1,990 | lag 10 | quarantined minute 1, time 2"
        " | answers 30 | tiers personalised 29, popular 1 | response p50 4 ms, p99 12 ms"
        " | live RMSE 0.950 [0.910, 1.000] on 1,234 ratings | serving release 2: v2 | retrained 1x"
    )


def test_nothing_yet() -> None:
    """Before the first report there are noughts, and no error."""
    assert line(LiveStats(), 0) == "    0 s | lines in 0 | rows written 0 | lag 0 | answers 0 | retrained 0x"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display(terminal: bool) -> None:
    """A table on a terminal, a line elsewhere; a part that is down is still named."""
    console = Console(force_terminal=terminal, width=100, record=True, file=io.StringIO())
    parts = (PartState("kafka", (1,), (1.0,), 0.0, 2), PartState("bridge", (), (), 0.0, 0))
    with Display(console) as display:
        display.show(score(), parts)
    shown = console.export_text()
    assert "rows written" in shown
    assert ("kafka (restarted 2x)  bridge" in shown) == terminal


def test_a_good_end() -> None:
    """Nothing lost, doubled or failed, and retrained: good, and said so."""
    assert outcome().good
    text = summary(outcome())
    assert "good: every line is there exactly once, and every request was answered" in text
    assert "v1 gave 20 answers, v2 gave 10 answers" in text


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"account": Reconciliation({0: PartitionReconciliation(1_500, 1_499, 1_499)})}, "1 lines were lost"),
        (
            {"account": Reconciliation({0: PartitionReconciliation(1_500, 1_502, 1_500)})},
            "2 lines are there twice",
        ),
        (
            {"account": Reconciliation({0: PartitionReconciliation(1_500, 1_503, 1_503)})},
            "3 lines are there twice",
        ),
        ({"report": report(unacknowledged=4)}, "Kafka did not acknowledge 4 lines"),
        (
            {"report": report(requests={"200": 29, "0": 1})},
            "failed with status 0 (no answer in time)",
        ),
        ({"report": report(requests={"200": 29, "503": 2})}, "2 requests failed with status 503"),
        ({"report": report(requests={})}, "no request was answered"),
        ({"report": report(unusable_answers=1)}, "1 answers were no list of movies"),
        ({"score": score(retrains=())}, "no retraining came to an end, though one was due"),
        ({"score": score(retrains=(JobRun(NOW, NOW, 1),))}, "a retraining ended with code 1"),
    ],
)
def test_each_fault_is_named(fault: dict[str, object], sentence: str) -> None:
    """Lost, doubled, failed, not retrained: each makes the end a bad one, in a sentence of its own."""
    ended = outcome(**fault)
    assert not ended.good
    assert sentence in summary(ended)


def test_a_refused_model_is_the_gate_at_work() -> None:
    """A new model that is worse does not serve: that is no fault, but it is said."""
    ended = outcome(score=score(retrains=(JobRun(NOW, NOW, 3),)))
    assert ended.good
    assert "the gate refused the new model" in summary(ended)
    assert "the gate refused" not in summary(outcome())


def test_no_retraining_is_asked_of_a_short_run() -> None:
    """A run that ends before the schedule's first may have none."""
    assert outcome(score=score(retrains=()), retrain_due=False).good
