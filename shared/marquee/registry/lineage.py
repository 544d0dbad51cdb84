"""Where an artifact came from and where it served, put together from what the store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise

import msgspec

from marquee.errors import ObjectNotFound, ReleaseError
from marquee.registry import gate_report, release
from marquee.registry.gate_report import GateReport
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.object_store import ObjectStore


class ServingPeriod(msgspec.Struct, frozen=True):
    """One release in which an artifact served ``weight`` of the users; ``until`` is None while it does."""

    release: int
    arm: str
    weight: float
    since: datetime
    until: datetime | None
    reason: str


class Lineage(msgspec.Struct, frozen=True):
    """``served``: oldest first. ``judgements``: of every run that came to this artifact."""

    manifest: Manifest
    served: tuple[ServingPeriod, ...]
    judgements: tuple[GateReport, ...]


def load_lineage(store: ObjectStore, version: str) -> Lineage:
    """The lineage of ``version``; raises :class:`ReleaseError` if there is no such artifact."""
    try:
        manifest = read_manifest(store, version)
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no artifact {version!r}; see `marquee release list`") from error
    return Lineage(manifest, serving_periods(store, version), tuple(gate_report.load_reports(store, version)))


def serving_periods(store: ObjectStore, version: str) -> tuple[ServingPeriod, ...]:
    """Every release with an arm of ``version``."""
    newest_first = [None, *release.past_releases(store)]
    found = [
        ServingPeriod(
            now.number, arm.name, arm.weight, now.created, after.created if after else None, now.reason
        )
        for after, now in pairwise(newest_first)
        if now
        for arm in now.arms
        if arm.version == version
    ]
    return tuple(found[::-1])


def differences(recorded: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What is of another version here than was recorded, a line each."""
    return [
        f"{name} {recorded[name]} is recorded, {here.get(name, 'none')} is here"
        for name in sorted(recorded)
        if here.get(name) != recorded[name]
    ]
