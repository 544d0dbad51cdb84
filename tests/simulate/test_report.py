"""The report of a simulation: consistent counts, written atomically."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.simulate.small_service import empty_report

from marquee.simulate.delivery_counts import DeliveryCounts
from marquee.simulate.progress import summary_rows
from marquee.simulate.report import PartitionReport, ResponseHistogram, ResponseTimes, SimulationReport


def test_report_written_and_read_is_equal(tmp_path: Path) -> None:
    """The report replaces the previous file, reads as it was written, and leaves no temporary file."""
    report = empty_report()
    report.records, report.partitions = {"watch": 3}, {"0": PartitionReport(5, 7, 3)}
    (tmp_path / "report.json").write_text("old")
    report.write(tmp_path / "report.json")
    assert SimulationReport.read(tmp_path / "report.json") == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@given(st.lists(st.integers(0, 6_000), min_size=1))
def test_response_histogram_percentiles_are_nearest_ranks(tenths: list[int]) -> None:
    """Each percentile is the smallest time that this fraction of the responses did not exceed."""
    histogram = ResponseHistogram()
    for tenth in tenths:
        histogram.add(tenth / 10)
    times = histogram.summarize()
    ordered = sorted(tenths)
    for q, percentile in ((50, times.p50), (90, times.p90), (99, times.p99), (100, times.max)):
        rank = -(-q * len(ordered) // 100)
        assert percentile == ordered[rank - 1] / 10
    assert times.count == len(tenths)


def test_response_histogram_empty_is_all_zero() -> None:
    """Without a response all times are zero."""
    assert ResponseHistogram().summarize() == ResponseTimes()


def test_delivery_counts_only_acknowledged_records_count() -> None:
    """Acknowledged records count by kind, corruption and category; the others are unacknowledged."""
    counts, report = DeliveryCounts(), empty_report()
    clean, corrupted = counts.group("watch"), counts.group("watch", "inserted", "time")
    for group, partition, offset in ((clean, 0, 5), (clean, 0, 4), (clean, 1, 0), (corrupted, 0, 6)):
        group.written += 1
        group.acknowledge(partition, offset)
    corrupted.written += 1
    counts.fill_report(report)
    assert (report.acknowledged, report.unacknowledged, report.acknowledged - sum(report.malformed.values())) == (
        4,
        1,
        3,
    )
    assert (report.records, report.malformed) == ({"watch": 4}, {"time": 1})
    assert report.corrupted == {"watch": {"inserted": 1}}
    assert report.partitions == {"0": PartitionReport(4, 6, 3), "1": PartitionReport(0, 0, 1)}


def test_delivery_counts_record_without_offset_counts() -> None:
    """A retry may find that Kafka has the record already; Kafka then does not tell its offset."""
    counts = DeliveryCounts()
    for offset in (None, 3, None, 2):
        counts.group("watch").acknowledge(0, offset)
    assert counts.partitions == {0: PartitionReport(2, 3, 4)}


def test_on_delivery_refused_record_is_not_acknowledged() -> None:
    """A refused record stays unacknowledged, and its error is kept."""
    counts = DeliveryCounts()
    group = counts.group("watch")
    group.written += 1
    group.on_delivery("Broker: Message size too large", None)
    assert (counts.acknowledged, counts.unacknowledged) == (0, 1)
    assert counts.refusal == "Broker: Message size too large"


def test_summary_rows_show_all_counts() -> None:
    """Every kind of outcome that occurred has a row."""
    report = empty_report()
    report.records, report.acknowledged = {"watch": 2_000, "rating": 0}, 2_000
    report.problem = "Kafka is unavailable"
    report.requests, report.invalid_requests, report.invalid_responses = {"200": 3, "0": 1}, {"400": 2}, 1
    report.corrupted, report.unacknowledged = {"watch": {"inserted": 2}}, 5
    rows = dict(summary_rows(report))
    assert rows["records"].endswith("2,000 watch")
    assert rows["requests"].startswith("3 x 200, 1 x 0")
    assert (rows["invalid requests"], rows["waiting"], rows["in flight"]) == (
        "2 x 400",
        "Kafka is unavailable",
        "5",
    )
    assert {"corrupted", "response", "followed", "invalid"} <= set(rows)
