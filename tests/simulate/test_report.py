"""The report: counts that add up, written whole."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from marquee.simulate.delivery_counts import DeliveryCounts
from marquee.simulate.progress import rows
from marquee.simulate.report import PartitionReport, ResponseTimes, SimulationReport, Stopwatch, now


def an_empty_report() -> SimulationReport:
    return SimulationReport(mode="made", seed=1, started=now(), updated=now())


def test_it_reads_as_it_was_written(tmp_path: Path) -> None:
    """What is read is equal to what was written, over whatever was there, and nothing else is left."""
    report = an_empty_report()
    report.lines, report.partitions = {"watch": 3}, {"0": PartitionReport(5, 7, 3)}
    (tmp_path / "report.json").write_text("old")
    report.write(tmp_path / "report.json")
    assert SimulationReport.read(tmp_path / "report.json") == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@given(st.lists(st.integers(0, 6_000), min_size=1))
def test_percentiles_are_nearest_ranks(tenths: list[int]) -> None:
    """Each is the smallest time that so large a share of the answers did not exceed."""
    stopwatch = Stopwatch()
    for tenth in tenths:
        stopwatch.add(tenth / 10)
    times = stopwatch.times()
    ordered = sorted(tenths)
    for q, found in ((50, times.p50), (90, times.p90), (99, times.p99), (100, times.max)):
        rank = -(-q * len(ordered) // 100)
        assert found == ordered[rank - 1] / 10
    assert times.count == len(tenths)


def test_nothing_asked_no_times() -> None:
    assert Stopwatch().times() == ResponseTimes()


def test_only_what_is_acknowledged_counts() -> None:
    """Lines count by kind, corruption and category when they are safe; the others are on their way."""
    tally, report = DeliveryCounts(), an_empty_report()
    clean, spoilt = tally.entry("watch"), tally.entry("watch", "inserted", "time")
    for entry, partition, offset in ((clean, 0, 5), (clean, 0, 4), (clean, 1, 0), (spoilt, 0, 6)):
        entry.written += 1
        entry.keep(partition, offset)
    spoilt.written += 1
    tally.fill(report)
    assert (report.acknowledged, report.unacknowledged, report.readable) == (4, 1, 3)
    assert (report.lines, report.unreadable) == ({"watch": 4}, {"time": 1})
    assert report.corrupted == {"watch": {"inserted": 1}}
    assert report.partitions == {"0": PartitionReport(4, 6, 3), "1": PartitionReport(0, 0, 1)}


def test_a_line_whose_offset_is_not_told_counts() -> None:
    """After a failure Kafka may find that it had a line already, and then does not say where."""
    tally = DeliveryCounts()
    for offset in (None, 3, None, 2):
        tally.entry("watch").keep(0, offset)
    assert tally.partitions == {0: PartitionReport(2, 3, 4)}


def test_a_refused_line_is_not_acknowledged() -> None:
    tally = DeliveryCounts()
    entry = tally.entry("watch")
    entry.written += 1
    entry.delivered("Broker: Message size too large", None)
    assert (tally.acknowledged, tally.unacknowledged) == (0, 1)
    assert tally.refusal == "Broker: Message size too large"


def test_the_summary_names_what_happened() -> None:
    report = an_empty_report()
    report.lines, report.acknowledged, report.waiting = {"watch": 2_000, "rating": 0}, 2_000, "Kafka is away"
    report.requests, report.invalid_requests, report.unusable_answers = {"200": 3, "0": 1}, {"400": 2}, 1
    report.corrupted, report.unacknowledged = {"watch": {"inserted": 2}}, 5
    text = dict(rows(report))
    assert text["lines"].endswith("2,000 watch")
    assert text["requests"].startswith("3 x 200, 1 x 0")
    assert (text["invalid requests"], text["waiting"], text["on their way"]) == (
        "2 x 400",
        "Kafka is away",
        "5",
    )
    assert {"corrupted", "response", "followed", "unusable"} <= set(text)
