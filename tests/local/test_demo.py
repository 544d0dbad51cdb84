"""The display and the verdict of the demo, on constructed statistics."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from rich.console import Console

from marquee.evaluation.bootstrap import Accuracy
from marquee.local.demo_summary import DemoOutcome, format_summary
from marquee.local.display import DemoDisplay, format_line
from marquee.local.live_stats import LiveStats
from marquee.local.reconciliation import PartitionReconciliation, Reconciliation
from marquee.local.scheduler import JobRun
from marquee.local.state_dir import PartState
from marquee.registry.manifest import Metric
from marquee.simulate.report import PartitionReport, ResponseTimes, SimulationReport

NOW = datetime(2026, 1, 5, tzinfo=UTC)
RETRAINED = JobRun(NOW, NOW, 0)


def make_report(**changes: object) -> SimulationReport:
    report = SimulationReport(
        mode="replay",
        seed=1,
        started=NOW,
        updated=NOW,
        finished=True,
        acknowledged=2_000,
        partitions={"0": PartitionReport(0, 1_499, 1_500), "1": PartitionReport(0, 499, 500)},
        requests={"200": 30},
        response_ms=ResponseTimes(30, 5.0, 4.0, 8.0, 12.0, 12.0, 12.0),
        records_per_second=1580.4,
    )
    return msgspec.structs.replace(report, **changes)


def make_stats(**changes: object) -> LiveStats:
    stats = LiveStats(
        report=make_report(),
        rows=1_990,
        quarantine={"minute": 1, "time": 2},
        tiers={"personalised": 29, "popular": 1},
        versions={"v1": 20, "v2": 10},
        release_number=2,
        serving=("v2",),
        retrains=(RETRAINED,),
        accuracy=Accuracy(1_234, Metric(0.95, 0.91, 1.0), Metric(0.7, 0.6, 0.8)),
    )
    return replace(stats, **changes)  # type: ignore[arg-type]


EXACT = Reconciliation({0: PartitionReconciliation(1_500, 1_500, 1_500), 1: PartitionReconciliation(500, 500, 500)})


UNWRITTEN = Reconciliation({0: PartitionReconciliation(1_500, 1_491, 1_491, 9)})


def make_outcome(**changes: object) -> DemoOutcome:
    outcome = DemoOutcome(make_stats(), EXACT, make_report(), retrain_due=True)
    return replace(outcome, **changes)  # type: ignore[arg-type]


def one_partition(acknowledged: int, rows: int, offsets: int) -> Reconciliation:
    return Reconciliation({0: PartitionReconciliation(acknowledged, rows, offsets)})


def test_format_line_all_stats_are_on_one_line() -> None:
    """One line of plain text has all statistics."""
    assert format_line(make_stats(), 61.2) == (
        "   61 s | records in 2,000 (1,580/s) | rows written 1,990 | lag 10 | quarantined minute 1, time 2"
        " | responses 30 | tiers personalised 29, popular 1 | response time p50 4 ms, p99 12 ms"
        " | live RMSE 0.950 [0.910, 1.000] on 1,234 ratings | serving release 2: v2 | retrained 1x"
    )


def test_format_line_after_the_replay_says_so() -> None:
    """The stream then has requests only, which is no fault."""
    line = format_line(make_stats(report=make_report(exhausted=True)), 1_500)
    assert "records in 2,000 (the replay is over: users only request lists) |" in line


def test_format_line_before_first_report_shows_zeros() -> None:
    """Without a report the counts are zero, and there is no error."""
    assert format_line(LiveStats(), 0) == "    0 s | records in 0 | rows written 0 | lag 0 | responses 0 | retrained 0x"


@pytest.mark.parametrize("terminal", [True, False])
def test_display_is_a_table_on_a_terminal_only(terminal: bool) -> None:
    """A terminal shows a table with all parts, also ended ones; other outputs show a line."""
    console = Console(force_terminal=terminal, width=100, record=True, file=io.StringIO())
    parts = (PartState("kafka", (1,), (1.0,), 0.0, 2), PartState("bridge", (), (), 0.0, 0))
    with DemoDisplay(console) as display:
        display.show(make_stats(), parts)
    text = console.export_text()
    assert "rows written" in text
    assert ("kafka (restarted 2x)  bridge" in text) == terminal


def test_display_prints_each_release_once_with_its_reason() -> None:
    """A visitor sees in the terminal that a bad canary was rolled back, and why."""
    console = Console(force_terminal=False, width=100, record=True, file=io.StringIO())
    with DemoDisplay(console) as display:
        for number, reason in ((1, "retrain: first model"), (1, "retrain: first model"), (2, "monitor: canary harms")):
            display.show(make_stats(release_number=number, release_reason=reason), ())
    lines = [line for line in console.export_text().splitlines() if line.startswith("Release")]
    assert lines == ["Release 1 by retrain: first model", "Release 2 by monitor: canary harms"]


def test_format_summary_successful_demo_says_so() -> None:
    """Nothing lost, duplicated or failed, and retrained: the demo is successful."""
    assert make_outcome().successful
    text = format_summary(make_outcome())
    assert "OK: every record was written exactly once, every request was successful" in text
    assert "v1 served 20 impressions, v2 served 10 impressions" in text


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"reconciliation": one_partition(1_500, 1_499, 1_499)}, "1 records were lost"),
        ({"reconciliation": UNWRITTEN}, "9 records are not yet written: Kafka keeps them"),
        (
            {"reconciliation": UNWRITTEN, "in_memory": True},
            "9 records are not yet written: the broker held them in memory until this stop",
        ),
        (
            {"reconciliation": UNWRITTEN, "in_memory": True, "losses": 2},
            "9 records are lost: the broker held them in memory and ended 2x",
        ),
        ({"reconciliation": one_partition(1_500, 1_502, 1_500)}, "2 records were written twice"),
        ({"reconciliation": one_partition(1_500, 1_503, 1_503)}, "3 records were written twice"),
        ({"report": make_report(unacknowledged=4)}, "Kafka did not acknowledge 4 records"),
        ({"report": make_report(finished=False)}, "before it wrote its final report"),
        ({"report": make_report(requests={"200": 29, "0": 1})}, "failed with status 0 (no response in time)"),
        ({"report": make_report(requests={"200": 29, "503": 2})}, "2 requests failed with status 503"),
        ({"report": make_report(requests={})}, "no request was successful"),
        ({"report": make_report(invalid_responses=1)}, "1 responses were not a list of movies"),
        ({"stats": make_stats(retrains=())}, "a retraining was due, but none completed"),
        ({"stats": make_stats(retrains=(JobRun(NOW, NOW, 1),))}, "a retraining failed with exit code 1"),
    ],
)
def test_format_summary_each_fault_fails_the_demo(fault: dict[str, object], sentence: str) -> None:
    """Each fault makes the demo fail and has a sentence of its own."""
    outcome = make_outcome(**fault)
    assert not outcome.successful
    assert sentence in format_summary(outcome)


def test_format_summary_refused_model_is_a_note() -> None:
    """A new model that the gate refuses is not a fault, but it is noted."""
    outcome = make_outcome(stats=make_stats(retrains=(JobRun(NOW, NOW, 3),)))
    assert outcome.successful
    assert "the gate refused the new model" in format_summary(outcome)
    assert "the gate refused" not in format_summary(make_outcome())


def test_outcome_short_run_needs_no_retraining() -> None:
    """A run that ends before the schedule's first retraining may have none."""
    assert make_outcome(stats=make_stats(retrains=()), retrain_due=False).successful
