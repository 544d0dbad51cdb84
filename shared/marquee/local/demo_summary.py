"""What came of a demo, and whether it was good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from marquee.local.display import figures
from marquee.local.live_stats import REFUSED, RELEASED, LiveStats
from marquee.local.reconciliation import Reconciliation
from marquee.simulate.report import SimulationReport


@dataclass(frozen=True)
class DemoOutcome:
    """``report``: the simulator's last. ``retrain_due``: whether it ran long enough for a retraining."""

    score: LiveStats
    account: Reconciliation
    report: SimulationReport
    retrain_due: bool

    @property
    def good(self) -> bool:
        """Whether nothing that should not happen did."""
        return not any(self.faults())

    def faults(self) -> Iterator[str]:
        """What went wrong, one sentence each."""
        yield from self._lines()
        if not self.report.requests.get("200"):
            yield "no request was answered"
        for status, count in self.report.requests.items():
            if status != "200":
                yield f"{count:,} requests failed with status {status}" + " (no answer in time)" * (
                    status == "0"
                )
        if self.report.unusable_answers:
            yield f"{self.report.unusable_answers:,} answers were no list of movies"
        yield from self._retrains()

    def _lines(self) -> Iterator[str]:
        if not self.report.finished:
            yield "the simulator was cut off before it had written its account"
        if self.account.lost:
            yield f"{self.account.lost:,} lines were lost"
        if self.account.doubled:
            yield f"{self.account.doubled:,} lines are there twice"
        if self.report.unacknowledged:
            yield f"Kafka did not acknowledge {self.report.unacknowledged:,} lines"

    def _retrains(self) -> Iterator[str]:
        codes = [run.code for run in self.score.retrains]
        if self.retrain_due and not {RELEASED, REFUSED} & set(codes):
            yield "no retraining came to an end, though one was due"
        if failed := [code for code in codes if code not in (RELEASED, REFUSED)]:
            yield f"a retraining ended with code {failed[0]}: see `marquee local logs retrain`"

    def remarks(self) -> Iterator[str]:
        """What is as it should be, and still worth a sentence."""
        codes = [run.code for run in self.score.retrains]
        if REFUSED in codes and RELEASED not in codes:
            # The gate at work: the model before goes on serving, which is what a release is for.
            yield "the gate refused the new model, the one before serves on: see `marquee local logs retrain`"


def summary(outcome: DemoOutcome) -> str:
    """The whole of it in a dozen lines of plain text."""
    account = outcome.account
    lines = ["", "Summary"]
    lines += [f"  {label:>12}  {text}" for label, text in figures(outcome.score).items() if text]
    lines += [f"  {'models':>12}  {_versions(outcome.score)}"]
    lines += [
        f"  {'account':>12}  {account.acknowledged:,} lines that Kafka acknowledged, {account.rows:,} rows"
    ]
    lines += [
        f"  {'':>12}  partition {n}: {p.acknowledged:,} lines, {p.rows:,} rows, {p.offsets:,} offsets"
        for n, p in sorted(account.partitions.items())
    ]
    lines += [f"  {'note':>12}  {remark}" for remark in outcome.remarks()]
    verdict = list(outcome.faults()) or ["every line is there exactly once, and every request was answered"]
    lines += [f"  {'result':>12}  {'good' if outcome.good else 'BAD'}: {'; '.join(verdict)}"]
    return "\n".join(lines)


def _versions(score: LiveStats) -> str:
    served = sorted(score.versions.items())
    return ", ".join(f"{version} gave {count:,} answers" for version, count in served) or "none"
