"""What the gate said of an artifact, kept beside it: ``judgements/<version>/<run>-<outcome>.json``.

An artifact never changes, and it may be judged more than once: the same model made again, beside another that
serves. Each judgement is an object of its own, written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from marquee.errors import ObjectNotFound, PreconditionFailed
from marquee.registry.object_store.object_store import ObjectStore

REFUSED = "refused"


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """``outcome`` and ``reason`` as in the record of the run; ``findings``: every comparison, in words.

    ``serving``: the version that it was compared with, "" for none.
    """

    version: str
    run: str
    time: datetime
    outcome: str
    reason: str
    serving: str = ""
    findings: tuple[str, ...] = ()


def store_report(store: ObjectStore, judgement: GateReport) -> None:
    """Write ``judgement``; one of the same run and outcome stays as it is."""
    name = f"{_of(judgement.version)}{judgement.run}-{judgement.outcome}.json"
    try:
        store.put_new(name, msgspec.json.format(msgspec.json.encode(judgement), indent=1))
    except PreconditionFailed:
        pass  # This run has said so already.


def load_reports(store: ObjectStore, version: str) -> list[GateReport]:
    """All judgements of an artifact, oldest first."""
    return list(_read(store, store.list(_of(version))))


def list_refusals(store: ObjectStore, limit: int) -> list[GateReport]:
    """The refusals of the ``limit`` newest artifacts that were refused, newest event time first."""
    names = [name for name in store.list("judgements/") if name.endswith(f"-{REFUSED}.json")]
    return list(_read(store, names[::-1][:limit]))


def _of(version: str) -> str:
    return f"judgements/{version}/"


def _read(store: ObjectStore, names: Iterator[str] | list[str]) -> Iterator[GateReport]:
    for name in names:
        try:
            yield msgspec.json.decode(store.get(name).data, type=GateReport)
        except (ObjectNotFound, msgspec.MsgspecError):
            continue  # Removed meanwhile, or of a later program: nothing here depends on it.
