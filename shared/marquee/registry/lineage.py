"""Lineage of an artifact: its manifest, its gate reports and the releases that served it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise

import msgspec

from marquee.errors import ObjectNotFound, ReleaseError
from marquee.registry.gate_report import GateReport, load_reports
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import iter_releases


class ServingPeriod(msgspec.Struct, frozen=True):
    """Period in which an artifact served the fraction ``weight`` of the users; ``until`` is None if it still does."""

    release: int
    arm: str
    weight: float
    since: datetime
    until: datetime | None
    reason: str


class Lineage(msgspec.Struct, frozen=True):
    """Origin and use of one artifact. ``served`` is oldest first; ``gate_reports`` has one report a run."""

    manifest: Manifest
    served: tuple[ServingPeriod, ...]
    gate_reports: tuple[GateReport, ...]


def load_lineage(store: ObjectStore, version: str) -> Lineage:
    """Return the lineage of ``version``. Raises :class:`ReleaseError` if there is no such artifact."""
    try:
        manifest = read_manifest(store, version)
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no artifact {version!r}; see `marquee release list`") from error
    return Lineage(manifest, list_serving_periods(store, version), tuple(load_reports(store, version)))


def list_serving_periods(store: ObjectStore, version: str) -> tuple[ServingPeriod, ...]:
    """Return every period in which a release had an arm of ``version``, oldest first."""
    newest_first = [None, *iter_releases(store)]
    periods = [
        ServingPeriod(
            release.number,
            arm.name,
            arm.weight,
            release.created,
            successor.created if successor else None,
            release.reason,
        )
        for successor, release in pairwise(newest_first)
        if release
        for arm in release.arms
        if arm.version == version
    ]
    return tuple(periods[::-1])


def list_version_differences(recorded: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """Return a line for each recorded library whose installed version differs."""
    return [
        f"{name} {recorded[name]} is recorded, {installed.get(name, 'none')} is installed"
        for name in sorted(recorded)
        if installed.get(name) != recorded[name]
    ]
