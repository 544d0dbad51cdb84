"""Reports of the release gate, kept beside the artifact: ``gate_reports/<version>/<run>-<outcome>.json``.

An artifact never changes, but the gate may evaluate it more than once: the same model may be trained again while
another one is in service. Each report is an object of its own, written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from marquee.errors import ObjectNotFound, PreconditionFailed
from marquee.registry.json_document import MalformedDocument, decode_json
from marquee.registry.manifest import Metric
from marquee.registry.object_store.object_store import ObjectStore

REFUSED = "refused"
EXPERIMENT_RUN = "experiment-"
"""Beginning of the run's name in the report of an experiment that found the artifact harmful."""
_PREFIX = "gate_reports/"


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """Decision of the gate on one artifact.

    ``outcome`` and ``reason`` are those of the run's record. ``findings`` describes each comparison in one sentence.
    ``serving`` is the version that the artifact was compared with, empty for none.
    ``differences``: difference from each baseline with its interval, such as ``serving.rmse_gap.age``.
    """

    version: str
    run: str
    time: datetime
    outcome: str
    reason: str
    serving: str = ""
    findings: tuple[str, ...] = ()
    differences: dict[str, Metric] = {}


def store_report(store: ObjectStore, report: GateReport) -> None:
    """Write ``report``; do nothing if the run has stored this outcome already."""
    name = f"{_PREFIX}{report.version}/{report.run}-{report.outcome}.json"
    try:
        store.put_new(name, msgspec.json.format(msgspec.json.encode(report), indent=1))
    except PreconditionFailed:
        pass


def load_reports(store: ObjectStore, version: str) -> list[GateReport]:
    """Return all reports on an artifact, oldest first."""
    return list(_read_reports(store, store.list(f"{_PREFIX}{version}/")))


def list_refusals(store: ObjectStore, limit: int) -> list[GateReport]:
    """Return the refusals of the ``limit`` newest refused artifacts, newest event time first."""
    names = [name for name in store.list(_PREFIX) if name.endswith(f"-{REFUSED}.json")]
    return list(_read_reports(store, names[::-1][:limit]))


def _read_reports(store: ObjectStore, names: Iterable[str]) -> Iterator[GateReport]:
    for name in names:
        try:
            yield decode_json(store.get(name).data, GateReport)
        except (ObjectNotFound, MalformedDocument):
            continue  # Deleted meanwhile, or written by a newer program. Reports are for information only.
