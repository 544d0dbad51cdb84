"""Summary of a demo, and whether it succeeded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from marquee.local.display import stat_texts
from marquee.local.live_stats import REFUSED, RELEASED, LiveStats
from marquee.local.reconciliation import Reconciliation
from marquee.simulate.report import SimulationReport


@dataclass(frozen=True)
class DemoOutcome:
    """The final state of a demo.

    ``report`` is the simulator's last report. ``retrain_due``: the demo ran long enough for a retraining. A broker
    ``in_memory`` has lost its records ``losses`` times by its end.
    """

    stats: LiveStats
    reconciliation: Reconciliation
    report: SimulationReport
    retrain_due: bool
    in_memory: bool = False
    losses: int = 0

    @property
    def successful(self) -> bool:
        """True if there is no fault."""
        return not any(self.faults())

    def faults(self) -> Iterator[str]:
        """Yield one sentence per fault."""
        yield from self._record_faults()
        if not self.report.requests.get("200"):
            yield "no request was successful"
        for status, count in self.report.requests.items():
            if status != "200":
                reason = " (no response in time)" if status == "0" else ""
                yield f"{count:,} requests failed with status {status}{reason}"
        if self.report.invalid_responses:
            yield f"{self.report.invalid_responses:,} responses were not a list of movies"
        yield from self._retrain_faults()

    def _record_faults(self) -> Iterator[str]:
        if not self.report.finished:
            yield "the simulator ended before it wrote its final report"
        if self.reconciliation.lost:
            yield f"{self.reconciliation.lost:,} records were lost"
        if self.reconciliation.unwritten:
            yield f"{self.reconciliation.unwritten:,} records are {self._fate_of_unwritten()}"
        if self.reconciliation.duplicated:
            yield f"{self.reconciliation.duplicated:,} records were written twice"
        if self.report.unacknowledged:
            yield f"Kafka did not acknowledge {self.report.unacknowledged:,} records"

    def _fate_of_unwritten(self) -> str:
        if self.losses:
            return (
                f"lost: the broker held them in memory and ended {self.losses}x (`--durable-kafka` keeps them on disk)"
            )
        if self.in_memory:
            return (
                "not yet written: the broker held them in memory until this stop (`--durable-kafka` keeps them on disk)"
            )
        return "not yet written: Kafka keeps them, and the next start writes them"

    def _retrain_faults(self) -> Iterator[str]:
        codes = [run.code for run in self.stats.retrains]
        if self.retrain_due and not {RELEASED, REFUSED} & set(codes):
            yield "a retraining was due, but none completed"
        if failed := [code for code in codes if code not in (RELEASED, REFUSED)]:
            yield f"a retraining failed with exit code {failed[0]}: see `marquee local logs retrain`"

    def notes(self) -> Iterator[str]:
        """Yield remarks that are not faults."""
        codes = [run.code for run in self.stats.retrains]
        if REFUSED in codes and RELEASED not in codes:
            yield "the gate refused the new model; the previous one serves: see `marquee local logs retrain`"


def format_summary(outcome: DemoOutcome) -> str:
    """Return the outcome as a dozen lines of plain text."""
    reconciliation = outcome.reconciliation
    rows = [(label, text) for label, text in stat_texts(outcome.stats).items() if text]
    rows.append(("models", _format_versions(outcome.stats)))
    rows.append(("records", f"{reconciliation.acknowledged:,} acknowledged by Kafka, {reconciliation.rows:,} rows"))
    rows += [
        ("", f"partition {number}: {p.acknowledged:,} records, {p.rows:,} rows, {p.offsets:,} offsets")
        for number, p in sorted(reconciliation.partitions.items())
    ]
    rows += [("note", note) for note in outcome.notes()]
    faults = list(outcome.faults()) or ["every record was written exactly once, every request was successful"]
    rows.append(("result", f"{'OK' if outcome.successful else 'FAILED'}: {'; '.join(faults)}"))
    return "\n".join(["", "Summary", *(f"  {label:>13}  {text}" for label, text in rows)])


def _format_versions(stats: LiveStats) -> str:
    versions = sorted(stats.versions.items())
    return ", ".join(f"{version} served {count:,} impressions" for version, count in versions) or "none"
