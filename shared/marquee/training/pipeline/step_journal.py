"""Journal of a run: completed steps, with the time and memory that each used.

A run in a persistent directory (``marquee retrain --work``) reads the journal when it restarts after a kill, and runs
only the remaining steps. Each entry is written after the files of its step.
"""

from __future__ import annotations

import hashlib
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from marquee.config.atomic_file import write_atomically

if TYPE_CHECKING:
    from marquee.training.pipeline.pipeline_run import PipelineRun

STEPS_REPORT = "reports/steps.json"
RESUMABLE_FOR = timedelta(days=1)
"""Age of ``until`` from which a killed run is not resumed, so that repeated kills do not keep an old run alive."""

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class StepUsage(msgspec.Struct, frozen=True):
    """Wall-clock time, processor time of all threads, and peak resident memory of one step."""

    seconds: float
    cpu_seconds: float
    peak_mb: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.cpu_seconds:.1f} CPU s, peak {self.peak_mb:.0f} MB"


class StepJournal(msgspec.Struct, frozen=True):
    """Completed steps by name. ``key`` is the digest of the run's inputs, empty if the run cannot be resumed."""

    key: str
    until: datetime
    steps: dict[str, StepUsage] = {}


def open_journal(run: PipelineRun, outputs: Iterable[str], code: str) -> StepJournal:
    """Return the journal of the run that was killed in the same directory, or an empty one.

    If that run had other inputs, its files (``outputs``) are removed. ``code`` is a digest of the code of the steps.
    """
    empty = StepJournal(_digest_inputs(run, code) if run.resumable else "", run.request.until)
    if not run.resumable:
        return empty
    known = read_journal(run.root)
    if known is not None and known.key == empty.key:
        return known
    for name in (STEPS_REPORT, *outputs):
        _remove(run.path(name))
    _write(run.root, empty)
    return empty


def record_step(run: PipelineRun, journal: StepJournal, name: str, usage: StepUsage) -> StepJournal:
    """Write the journal with one more step, and return it."""
    journal = msgspec.structs.replace(journal, steps={**journal.steps, name: usage})
    _write(run.root, journal)
    return journal


def read_journal(root: Path) -> StepJournal | None:
    """Return the journal in the directory of a run; None if there is none that can be read."""
    try:
        return msgspec.json.decode((root / STEPS_REPORT).read_bytes(), type=StepJournal)
    except (OSError, msgspec.MsgspecError):
        return None


def unfinished_until(root: Path, now: datetime) -> datetime | None:
    """Return the ``until`` of the run that was killed in ``root`` within the last day; None without one."""
    journal = read_journal(root)
    return journal.until if journal and timedelta() <= now - journal.until < RESUMABLE_FOR else None


def measure_usage(action: Callable[[], object]) -> StepUsage:
    """Run ``action`` and return the time and memory that it used.

    Only Linux can reset the peak memory. Elsewhere it is the peak of the process so far.
    """
    _reset_peak()
    started, cpu_started = time.monotonic(), time.process_time()
    action()
    return StepUsage(
        round(time.monotonic() - started, 3), round(time.process_time() - cpu_started, 3), round(_peak_mb(), 1)
    )


def _digest_inputs(run: PipelineRun, code: str) -> str:
    """Return a digest of parameters, selection of the data, and code of the steps."""
    names = ("until", "base", "base_fraction", "rating_min", "rating_max", "scale")
    request = {name: str(getattr(run.request, name)) for name in names}
    inputs = (run.params.as_dict(), request, run.database is not None, code)
    return hashlib.sha256(msgspec.json.encode(inputs, order="deterministic")).hexdigest()


def _write(root: Path, journal: StepJournal) -> None:
    write_atomically(root / STEPS_REPORT, msgspec.json.format(msgspec.json.encode(journal)) + b"\n", durable=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _reset_peak() -> None:
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        pass


def _peak_mb() -> float:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        lines = []
    peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
    return (peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024
